"""The one table of a study's mechanisms, for the terminal."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from interfere.report.tables import plain_table
from interfere.study.fresh import is_fresh
from interfere.study.mechanisms import CONTRASTS, FILES, MECHANISMS

SHOWN = {
    "how far old facts moved": {
        "overlap": "overlap of new and old",
        "drift": "drift",
        "drift_beyond_control": "… beyond the control",
        "common": "common part",
        "residual": "residual part",
        "beyond_common": "common beyond the control",
        "beyond_residual": "residual beyond the control",
    },
    "what probes read of old facts": {
        "probe_before": "before",
        "probe_carried": "carried over",
        "probe_erased": "erased",
        "probe_misread": "misread",
        "probe_erased_forgotten": "erased, forgotten facts",
        "probe_misread_forgotten": "misread, forgotten facts",
    },
    "interference": {
        "interference_size": "size",
        "interference_common": "common part",
        "interference_residual": "residual part",
        "interference_direction": "direction",
    },
    "behaviour": {
        "plasticity": "plasticity",
        "net_loss_end": "net loss",
        "net_loss_end_beyond": "… beyond the control",
        "behavioural_interference": "interference (nats)",
    },
}
"""Tables, their measures in the order of the columns, and what these are called."""


def mechanism_tables(folder: Path) -> list[Table]:
    """What arms did and what they differ in; 95 % intervals in brackets.

    After a difference, the smallest that could have shown. Nothing where the tables are not
    there, or older than the results.
    """
    if not all(is_fresh(folder / name) for name in FILES):
        return []
    arms, pairs = (
        pd.read_csv(folder / name).fillna({"position": ""})
        for name in (MECHANISMS, CONTRASTS)
    )
    tables = []
    for title, measures in SHOWN.items():
        for table, by, what in (
            (arms, ["arm"], title),
            (
                pairs,
                ["more", "less"],
                f"{title}, first arm less second (± could have shown)",
            ),
        ):
            if table["measure"].isin(measures).any():
                wide_table = wide(table, [*by, "position"], measures)
                tables.append(plain_table(wide_table, f"{folder.name}: {what}"))
    return tables


def wide(table: pd.DataFrame, by: list[str], measures: dict[str, str]) -> pd.DataFrame:
    """A row an arm (or pair) and position, a column a measure: value and interval as text.

    Args:
        table: of `study.mechanisms`, its missing positions filled with "".
        by: columns that tell rows apart; position is dropped where no row has one.
        measures: in the order of the columns, and what these are called.
    """
    own = table[table["measure"].isin(measures)]
    text = own.assign(text=[_text(row) for row in own.to_dict("records")])
    rows = text.pivot_table(
        index=by, columns="measure", values="text", aggfunc="first", sort=False
    )
    kept = [name for name in measures if name in rows]
    found = rows[kept].rename(columns=measures).fillna("–").reset_index()
    return found if found["position"].any() else found.drop(columns="position")


def _text(row: dict[Any, Any]) -> str:
    value = _digits(row["value"])
    if pd.isna(row["low"]):
        return value
    text = f"{value} [{_digits(row['low'])}, {_digits(row['high'])}]"
    return f"{text} ± {_digits(row['smallest'])}" if "less" in row else text


def _digits(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 0.01 else f"{value:.3f}"
