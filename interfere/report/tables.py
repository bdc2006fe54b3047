"""Tables for the terminal, and for files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from interfere import cache
from interfere.errors import InputError
from interfere.measures.comparison import Comparison


def headline_table(table: pd.DataFrame, study: str) -> Table:
    """What each arm learnt and lost: net loss with 95 % interval, and from seed to seed."""
    view = new_table(
        f"{study}: accuracies at the end, and held-out facts lost (share, 95 % interval)",
        [
            "arm",
            "task",
            "plasticity",
            "stability",
            "net loss",
            "seeds",
            "beyond the control",
            "… at plasticity .9",
            "could have shown",
        ],
    )
    for row in table.to_dict("records"):
        matched = with_interval(row, "net_loss_0.9_beyond")
        view.add_row(
            str(row["arm"]),
            *(number(row[name]) for name in ("task", "plasticity", "stability")),
            with_interval(row, "net_loss_end"),
            str(row["net_loss_end_seeds"]) if row["seeds"] > 1 else "–",
            with_interval(row, "net_loss_end_beyond"),
            "not reached" if row.get("net_loss_0.9_reached") is False else matched,
            number(row.get("net_loss_end_beyond_smallest", np.nan)),
        )
    return view


def contrast_table(table: pd.DataFrame) -> Table:
    """Differences of net loss between pairs of arms at matched plasticity."""
    view = new_table(
        "difference of net loss at matched plasticity (95 % interval over answers)",
        [
            "more",
            "less",
            "plasticity",
            "difference",
            "seeds",
            "could have shown",
            "shows",
            "ratio beyond the control",
        ],
    )
    for row in table.to_dict("records"):
        start = [str(row["more"]), str(row["less"]), str(row["level"])]
        if not row["reached"]:
            view.add_row(*start, "not reached", *["–"] * 4)
            continue
        view.add_row(
            *start,
            f"{row['difference']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
            f"{row['seeds_low']:.3f} to {row['seeds_high']:.3f}",
            number(row["smallest"]),
            "yes" if row["shows"] else "no",
            _ratio(row),
        )
    return view


def counts_table(counts: pd.DataFrame) -> Table:
    """Facts by relation and category."""
    return plain_table(counts, "what the model knows (SLiCK)")


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Net loss, and drift and CKA by hook and position."""
    drift = comparison.drift().groupby(["hook", "position"], sort=False)
    moved = drift[["drift", "relative_norm"]].mean().reset_index()
    both = moved.merge(comparison.cka(), on=["hook", "position"])
    named = both.rename(
        columns={"drift": "drift (1 − cosine)", "relative_norm": "norm change"}
    )
    return [
        plain_table(comparison.net_loss(), "held-out facts"),
        plain_table(named, "by layer"),
    ]


def plain_table(table: pd.DataFrame, title: str) -> Table:
    """Any table, numbers to four digits."""
    view = new_table(title, [str(column) for column in table.columns])
    for row in table.itertuples(index=False):
        view.add_row(*(_cell(value) for value in row))
    return view


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write .csv or .parquet, whole or not at all.

    Raises:
        InputError: another ending, or a place that can't be written.
    """
    check_ending(path)
    with cache.whole_file(path) as draft:
        if path.suffix == ".csv":
            table.to_csv(draft, index=False)
        else:
            table.to_parquet(draft, index=False)


def check_ending(path: Path) -> None:
    """Refuse a table's file name before the work that would fill it.

    Raises:
        InputError: an ending other than .csv and .parquet.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise InputError(f"{path}: write tables as .csv or .parquet")


def new_table(title: str, heads: list[str]) -> Table:
    """Empty; the first column to the left, the others to the right."""
    view = Table(title=title, title_justify="left")
    for place, head in enumerate(heads):
        view.add_column(head, justify="right" if place else "left")
    return view


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return number(float(value), 4)
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def number(value: float, digits: int = 3) -> str:
    """A dash where there is none."""
    return "–" if pd.isna(value) else f"{value:,.{digits}f}"


def _ratio(row: dict[Any, Any]) -> str:
    if pd.isna(row["ratio"]):
        return "–"
    return f"{row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]"


def with_interval(row: dict[Any, Any], name: str) -> str:
    """A row's value of this name, and its `…_low` and `…_high` in brackets."""
    value = row.get(name, np.nan)
    if pd.isna(value):
        return "–"
    return f"{value:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"
