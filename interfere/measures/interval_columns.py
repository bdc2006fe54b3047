"""Intervals as columns of a table."""

from interfere.measures.statistics import Interval


def interval_columns(**intervals: Interval) -> dict[str, float]:
    """For each name: name, name_low, name_high, name_smallest.

    The last is the smallest difference from no effect that the table's size could have
    shown; see `measures.statistics.Interval`.
    """
    columns: dict[str, float] = {}
    for name, interval in intervals.items():
        columns |= {
            name: interval.value,
            f"{name}_low": interval.low,
            f"{name}_high": interval.high,
            f"{name}_smallest": interval.smallest,
        }
    return columns
