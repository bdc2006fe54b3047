"""Which new facts hurt, and which old facts are at risk, by their gradients."""

import warnings

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere.facts.fact import FactSet
from interfere.measures.gradient_kernel import GradientKernel
from interfere.measures.rows import Labels
from interfere.measures.statistics import percentiles, ratio, resampled_sums

RESAMPLES = 2_000


def blame(
    kernel: GradientKernel, *components: str, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """New facts, the most harmful first: what a step on each does to all old facts.

    Columns: id, subject, answer; `harm`: predicted rise of the loss, summed over old
    facts, for a learning rate of 1 and a step on the fact's summed loss (see
    `GradientKernel`); `low`, `high`: 95 % interval over which old facts were measured,
    their answers resampled. Above 0 it hurts, below 0 it helps. The interval holds nothing
    of the sketch's noise, nor of what lies beyond the first order.

    Args:
        kernel: of the optimizer that trains.
        components: which are trained; none: all.
        resamples: of the old facts' answers.
        seed: of the resampling.
    """
    rise = kernel.rise(1.0, 1.0, *components)
    return _table(rise, kernel.new, kernel.old, resamples, seed)


def risk(
    kernel: GradientKernel, *components: str, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Old facts, the most endangered first: what a step on all new facts does to each.

    Columns and arguments as in `blame`, with old and new changed over: `harm` is summed
    over new facts, whose answers are resampled for the interval.
    """
    rise = kernel.rise(1.0, 1.0, *components)
    return _table(rise.T, kernel.old, kernel.new, resamples, seed)


def _table(
    rise: Float64[np.ndarray, "others facts"],
    facts: FactSet,
    others: FactSet,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    clusters = [fact.answer for fact in others]
    low, high = _intervals(rise, clusters, resamples, seed)
    table = facts.table[["id", "subject", "answer"]].assign(
        harm=rise.sum(0), low=low, high=high
    )
    return table.sort_values("harm", ascending=False, kind="stable", ignore_index=True)


def _intervals(
    values: Float64[np.ndarray, "others facts"], clusters: Labels, resamples: int, seed: int
) -> Float64[np.ndarray, "2 facts"]:
    """Of each column's sum, at the number of rows that there are."""
    count = len(values)
    columns = np.hstack([values, np.ones((count, 1))])
    sums = resampled_sums(columns, clusters, resamples=resamples, seed=seed)
    drawn = [count * ratio(sums[:, [j, -1]]) for j in range(values.shape[1])]
    ends = np.array([percentiles(draws, clusters) for draws in drawn]).T
    if np.isnan(ends).any():
        warnings.warn(
            "intervals are NaN: they need 2 or more answers, none of nearly all facts",
            stacklevel=4,
        )
    return ends
