"""Intervals as columns of a table, and their p-values corrected for its rows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from interfere.measures.holm import holm
from interfere.measures.statistics import Interval


def interval_columns(**intervals: Interval) -> dict[str, float]:
    """For each name: name, name_low, name_high, name_smallest, name_p.

    smallest: the difference from no effect that the table's size could have shown; p: of no
    effect. See `measures.statistics.Interval`.
    """
    columns: dict[str, float] = {}
    for name, interval in intervals.items():
        columns |= {
            name: interval.value,
            f"{name}_low": interval.low,
            f"{name}_high": interval.high,
            f"{name}_smallest": interval.smallest,
            f"{name}_p": interval.p_value,
        }
    return columns


def corrected(
    table: pd.DataFrame, names: Sequence[str], by: str | None = None
) -> pd.DataFrame:
    """Beside name_p of each of `names`, name_p_holm: over all rows, which are many tests.

    Args:
        table: of `interval_columns`, a row a place (a layer, say).
        names: differences that are tested; name_p of others, which test nothing, is dropped.
        by: a column; rows that differ in it are other families of tests.
    """
    if table.empty:
        return table
    kept = table.drop(
        columns=[
            name
            for name in table.columns
            if name.endswith("_p") and name.removesuffix("_p") not in names
        ]
    )
    groups = np.zeros(len(table)) if by is None else table[by].to_numpy()
    for name in names:
        p = kept[f"{name}_p"]
        adjusted = p.groupby(groups).transform(lambda own: holm(own.to_numpy(float)))
        kept.insert(kept.columns.get_loc(f"{name}_p") + 1, f"{name}_p_holm", adjusted)
    return kept
