"""The one table of a study's mechanisms, for the terminal."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from interfere.report.tables import plain_table
from interfere.study.mechanisms import CONTRASTS, MECHANISMS

SHOWN = {
    "overlap": "overlap",
    "drift": "drift",
    "common": "common part",
    "residual": "residual part",
    "probe_before": "probe before",
    "probe_carried": "carried over",
    "probe_erased": "erased",
    "probe_misread": "misread",
    "interference_size": "interference: size",
    "interference_direction": "direction",
    "net_loss_end": "net loss",
}
"""Measures in the order of the columns, and what these are called."""


def mechanism_tables(folder: Path) -> list[Table]:
    """By position a row an arm, and what arms differ in; 95 % intervals in brackets."""
    table = pd.read_csv(folder / MECHANISMS)
    tables = [
        plain_table(wide(rows, ["arm"]), f"{folder.name}, {position}: where old facts went")
        for position, rows in table.groupby("position", sort=False)
    ]
    unplaced = table[table["position"].isna()]
    if len(unplaced):
        tables.append(plain_table(wide(unplaced, ["arm"]), f"{folder.name}: behaviour"))
    differences = pd.read_csv(folder / CONTRASTS).fillna({"position": ""})
    if len(differences):
        pairs = wide(differences, ["more", "less", "position"])
        tables.append(plain_table(pairs, f"{folder.name}: first arm less second"))
    return tables


def wide(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """A row an arm (or pair), a column a measure: value and interval as text."""
    text = table.assign(text=[_text(row) for row in table.to_dict("records")])
    rows = text.pivot_table(
        index=by, columns="measure", values="text", aggfunc="first", sort=False
    )
    kept = [name for name in SHOWN if name in rows]
    return rows[kept].rename(columns=SHOWN).fillna("–").reset_index()


def _text(row: dict[Any, Any]) -> str:
    value = _digits(row["value"])
    if pd.isna(row["low"]):
        return value
    return f"{value} [{_digits(row['low'])}, {_digits(row['high'])}]"


def _digits(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 0.01 else f"{value:.3f}"
