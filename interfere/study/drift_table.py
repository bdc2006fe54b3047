"""How far facts moved from one recording to another, as results hold it."""

from pathlib import Path

import numpy as np
import pandas as pd

from interfere.activations.recording import Recording
from interfere.measures.comparison import compare
from interfere.measures.statistics import mean_interval

METRICS = {"drift": "", "low": "_low", "high": "_high"}
"""Columns of `drift_table`, and what their metrics' names end in."""

RESAMPLES = 2000


def drift_table(before: Recording | Path, after: Recording | Path) -> pd.DataFrame:
    """Mean drift (1 - cosine) over facts: a row a hook and position.

    Columns: hook, position, drift, low, high (95 %, answers resampled); NaN where a fact's
    is (an activation of length 0; `measures.drift` warns).
    """
    change = compare(before, after)
    facts = change.pair.before.table.set_index("id")["answer"]
    rows = []
    for (hook, position), own in change.drift().groupby(["hook", "position"], sort=False):
        place = {"hook": hook, "position": position}
        numbers = dict.fromkeys(METRICS, np.nan)
        if own["drift"].notna().all():
            found = mean_interval(
                own["drift"].to_numpy()[None], facts[own["fact"]], resamples=RESAMPLES
            )
            numbers = {"drift": found.value, "low": found.low, "high": found.high}
        rows.append(place | numbers)
    return pd.DataFrame(rows)


def as_metrics(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Long: a row a number; columns metric and value in the place of those of METRICS.

    Args:
        table: of `drift_table`, further columns beside it.
        name: of the mean's metric; those of its ends are `…_low`, `…_high`.
    """
    kept = [column for column in table.columns if column not in METRICS]
    long = table.melt(kept, list(METRICS), "metric", "value")
    return long.assign(metric=name + long["metric"].map(METRICS))
