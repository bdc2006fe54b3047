"""Rows of the tables of mechanisms: a measure's value and interval."""

from collections.abc import Sequence

import pandas as pd

from interfere.measures.statistics import Interval

COLUMNS = [
    "position",
    "measure",
    "value",
    "low",
    "high",
    "seeds_low",
    "seeds_high",
    "smallest",
]


def row(measure: str, found: Interval, position: str | None = None) -> dict[str, object]:
    """One measure of one arm, or of two arms' difference."""
    names = [name for name in COLUMNS if name in Interval.__dataclass_fields__]
    return {"measure": measure, "position": position} | {
        name: getattr(found, name) for name in names
    }


def seeds_mean(
    own: pd.DataFrame, name: str, position: str | None = None
) -> list[dict[str, object]]:
    """A metric of results.parquet: the means over seeds of its value and ends; none if absent.

    Args:
        own: the arm's rows of results.parquet, at one place.
        name: the metric, whose ends are `…_low` and `…_high`.
        position: where it was measured.
    """
    values = own.loc[own["metric"] == name, "value"]
    if values.empty:
        return []
    ends = {
        end: own.loc[own["metric"] == f"{name}_{end}", "value"].mean(skipna=False)
        for end in ("low", "high")
    }
    seeds = {"seeds_low": values.min(), "seeds_high": values.max()}
    first = {"measure": name, "position": position, "value": values.mean(skipna=False)}
    return [first | ends | seeds]


def ordered(
    rows: list[dict[str, object]], first: Sequence[str], last: Sequence[str] = ()
) -> pd.DataFrame:
    """The table, with its columns in their order; also of no rows."""
    return pd.DataFrame(rows).reindex(columns=[*first, *COLUMNS, *last])
