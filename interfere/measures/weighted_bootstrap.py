"""Intervals and p-values for numbers that no sums over facts give, such as an AUC.

Answers are drawn anew; a fact then counts as often as its answer was drawn. Statistics get
these counts as weights, many resamples at once.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from interfere.measures.rows import ROUNDING, Labels, as_codes
from interfere.measures.statistics import (
    Interval,
    p_value,
    percentiles,
    smallest_difference,
)

RESAMPLES = 2000
CHUNK = 1 << 21
"""Weights held in memory at a time."""

Weights = Float64[np.ndarray, "resamples facts"]
Statistic = Callable[[int, Weights], Float64[np.ndarray, "resamples numbers"]]
"""From a seed's place and weights to some numbers a resample."""


def bootstrap(
    statistic: Statistic,
    clusters: Labels,
    *,
    seeds: int = 1,
    nulls: Sequence[float] = (0.0,),
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """Each number that `statistic` gives: mean over seeds, answers resampled.

    The value is the mean of what single seeds give, so it says how well one run is
    described; their range stands beside it. Intervals are widened for few or unequal
    clusters as in `statistics.percentiles`, and p-values are where they touch the null
    (`statistics.p_value`). All NaN where the statistic is NaN in a resample.

    Args:
        statistic: see `Statistic`; weights of 1 are the facts as they are.
        clusters: one label a fact (its answer).
        seeds: how many seeds there are.
        nulls: what no effect would be, a value for each number.
        level: nominal coverage of the intervals.
        resamples: how often clusters are drawn anew.
        seed: of the drawing.

    Raises:
        InputError: a fact without a label.
    """
    facts = len(np.asarray(clusters, dtype=object))
    codes = as_codes(clusters, facts)
    once = np.ones((1, facts))
    single = np.stack([statistic(place, once)[0] for place in range(seeds)])
    draws = np.concatenate(
        [
            np.mean([statistic(place, weights) for place in range(seeds)], axis=0)
            for weights in fact_weights(codes, resamples=resamples, seed=seed)
        ]
    )
    found = []
    for values, column, null in zip(single.T, draws.T, nulls, strict=True):
        low, high = percentiles(column, codes, level=level)
        error = float("nan") if np.isnan(low) else float(column.std(ddof=1))
        if error <= ROUNDING * np.abs(column).max():
            error = float("nan")
        interval = Interval(
            value=float(values.mean()),
            low=low,
            high=high,
            seeds_low=float(values.min()),
            seeds_high=float(values.max()),
            smallest=smallest_difference(error, level=level),
            null=null,
            p_value=p_value(column, codes, null=null),
        )
        found.append(interval)
    return found


def fact_weights(clusters: Labels, *, resamples: int, seed: int) -> Iterator[Weights]:
    """How often each fact counts when as many clusters as there are are drawn anew."""
    facts = len(np.asarray(clusters, dtype=object))
    codes = as_codes(clusters, facts)
    count = int(codes.max()) + 1
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK // facts)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=size)
        yield drawn[:, codes].astype(np.float64)
