"""Intervals for averages over pairs of facts: answers are resampled, pairs reweighted.

A pair of facts of the answers a and b counts w_a · w_b times where a was drawn w_a times
and b w_b times. Averaging over one side alone, as if the other were given, would make
intervals too narrow.
"""

import warnings

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int

from interfere.measures.rows import ROUNDING, Labels, as_codes
from interfere.measures.statistics import (
    Interval,
    p_value,
    percentiles,
    smallest_difference,
)


def common_codes(
    old: Labels, new: Labels, facts: tuple[int, int]
) -> tuple[Int[np.ndarray, " n1"], Int[np.ndarray, " n2"]]:
    """Labels of two sets as integers, one integer a label in both.

    Raises:
        InputError: not one label a fact, or a label that is missing.
    """
    as_codes(old, facts[0], "old answers")
    as_codes(new, facts[1], "new answers")
    both = pd.Series([*old, *new], dtype=object)
    codes = as_codes(both, sum(facts))
    return codes[: facts[0]], codes[facts[0] :]


def cluster_weights(
    clusters: int, *, resamples: int, seed: int
) -> Float64[np.ndarray, "resamples clusters"]:
    """How often each cluster is drawn, when as many as there are are drawn anew."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(clusters, np.full(clusters, 1 / clusters), resamples)
    return drawn.astype(np.float64)


def by_cluster(
    values: Float64[np.ndarray, "n1 n2"],
    rows: Int[np.ndarray, " n1"],
    columns: Int[np.ndarray, " n2"],
    clusters: int,
) -> Float64[np.ndarray, "clusters clusters"]:
    """Sum of a matrix of pairs over each pair of clusters."""
    folded = np.zeros((clusters, values.shape[1]))
    np.add.at(folded, rows, values)
    found = np.zeros((clusters, clusters))
    np.add.at(found.T, columns, folded.T)
    return found


def interval_of_draws(
    value: float,
    draws: Float64[np.ndarray, " resamples"],
    clusters: Labels,
    *,
    name: str,
    null: float = 0.0,
) -> Interval:
    """A value of one seed with its percentile interval from bootstrap draws.

    Draws without a value are left out if they are few (under 1 %); else, and where there
    are too few clusters, the interval is NaN, with a warning.
    """
    finite = draws[np.isfinite(draws)]
    low = high = p = float("nan")
    if np.isfinite(value) and len(finite) >= 0.99 * len(draws):
        low, high = percentiles(finite, clusters)
        p = p_value(finite, clusters, null=null)
    if np.isnan(low):
        warnings.warn(
            f"{name}: interval is NaN: it needs more answers, none of them nearly all facts",
            stacklevel=3,
        )
    error = float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")
    if np.isnan(low) or error <= ROUNDING * np.abs(finite).max():
        error = float("nan")
    return Interval(value, low, high, value, value, smallest_difference(error), null, p)
