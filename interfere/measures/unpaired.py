"""Difference of two means over different facts that share answers."""

import warnings

import numpy as np
from jaxtyping import Float64, Real

from interfere.measures.statistics import (
    RESAMPLES,
    Interval,
    p_value,
    percentiles,
    ratio,
    resampled_sums,
    smallest_difference,
)


def unpaired_interval(
    a: Real[np.ndarray, "seeds facts"],
    a_clusters: list[str],
    b: Real[np.ndarray, "seeds others"],
    b_clusters: list[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of a - mean of b, over seeds and each one's own facts; 95 % interval.

    An answer is drawn with all its facts on both sides, since they move together. NaN, with
    a warning, where a resample has no facts of one side: too few answers have any.
    """
    none_a, none_b = np.zeros(a.shape[1]), np.zeros(b.shape[1])
    columns = np.stack(
        [
            np.concatenate([a.mean(0), none_b]),
            np.concatenate([none_a + 1, none_b]),
            np.concatenate([none_a, b.mean(0)]),
            np.concatenate([none_a, none_b + 1]),
        ],
        axis=1,
    )
    clusters = [*a_clusters, *b_clusters]
    draws = _difference(resampled_sums(columns, clusters, resamples=resamples, seed=seed))
    low, high = percentiles(draws, clusters)
    if np.isnan(low):
        warnings.warn(
            "interval is NaN: too few answers have facts of both sides", stacklevel=2
        )
    seeds = a.mean(1) - b.mean(1)
    return Interval(
        value=float(a.mean() - b.mean()),
        low=low,
        high=high,
        seeds_low=float(seeds.min()),
        seeds_high=float(seeds.max()),
        smallest=smallest_difference(float(draws.std(ddof=1))),
        p_value=p_value(draws, clusters),
    )


def _difference(
    sums: Float64[np.ndarray, "resamples 4"],
) -> Float64[np.ndarray, " resamples"]:
    return np.asarray(ratio(sums[:, :2]) - ratio(sums[:, 2:]))
