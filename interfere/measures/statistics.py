"""Intervals for averages over facts: seeds averaged, answers resampled.

Facts with one answer are forgotten together, so answers, not facts, are what is drawn
anew. Seeds of one checkpoint are no sample of models: they are averaged, and their range
stands beside the interval.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Real
from scipy import stats

from interfere.errors import InputError
from interfere.measures.rows import ROUNDING, Array, Labels, as_codes

RESAMPLES = 10_000
CHUNK = 1 << 20
"""Cluster draws held in memory at a time."""

Statistic = Callable[[Float64[np.ndarray, "... columns"]], Float64[np.ndarray, "..."]]
"""From sums (the last axis: a column each) to the number of interest."""


@dataclass(frozen=True)
class Interval:
    """A number, where it may lie, and how fine a difference could have been seen."""

    value: float
    low: float
    """Lower end of the 95 % interval (unless another level was asked for)."""
    high: float
    seeds_low: float
    """Smallest value that a single seed gives."""
    seeds_high: float
    smallest: float
    """Smallest distance from `null` that this size could have shown (80 % power); NaN
    where no fact differs from another, which says nothing of it."""
    null: float = 0.0
    """What no effect would be: 0 for a difference, 1 for a ratio."""
    p_value: float = float("nan")
    """Two-sided: 1 - the level at which the interval just reaches `null`; NaN where no
    test goes with the interval."""

    @property
    def shows(self) -> bool:
        """Whether the interval excludes `null`; False where it is NaN."""
        return bool(self.low > self.null or self.high < self.null)

    def against(self, null: float) -> "Interval":
        """The same beside another null, without a p-value: that was of the old one."""
        same = null == self.null
        return self if same else replace(self, null=null, p_value=float("nan"))


def smallest_difference(
    standard_error: float, *, level: float = 0.95, power: float = 0.8
) -> float:
    """Smallest true difference that would have shown with probability `power`.

    (z₁₋ₐ⸝₂ + z_power) · standard error; 2.80 standard errors by default (5 %, two-sided).
    """
    return float(standard_error * (stats.norm.ppf(0.5 + level / 2) + stats.norm.ppf(power)))


def mean_interval(
    values: Real[np.ndarray, "seeds facts"],
    clusters: Labels,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over seeds and facts; interval by cluster bootstrap over `clusters`.

    Args:
        values: one number a seed and fact, none missing.
        clusters: one label a fact (its answer): facts that move together.
        level: nominal coverage. In simulations (95 %, clusters that share half of the
            variance) it holds to 2 points from 40 clusters of like size, for normal values
            and for shares of .1 and more. It undercovers for rare outcomes that few
            clusters hold (a share of .02: 87 % with 40 clusters, 91 % with 100) and for
            shares of .1 in very unequal clusters (92 %).
        resamples: how often clusters are drawn anew.
        seed: of the drawing.

    Raises:
        InputError: a NaN, or labels that don't match the facts.
    """
    columns = _columns(values)
    seeds = columns[..., 0].mean(1)
    return _interval(columns, _mean, seeds, clusters, level, resamples, seed)


def pooled_interval(
    values: Real[np.ndarray, " rows"],
    clusters: Labels,
    seeds: Labels,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over rows, where each seed has facts of its own: those that it forgot, say.

    An answer is drawn with its facts of every seed. A row a seed and fact: `clusters` and
    `seeds` label each; the rest as in `mean_interval`.
    """
    found = mean_interval(
        np.asarray(values)[None], clusters, level=level, resamples=resamples, seed=seed
    )
    codes = as_codes(seeds, len(np.asarray(values)))
    each = np.bincount(codes, np.asarray(values, dtype=np.float64)) / np.bincount(codes)
    return replace(found, seeds_low=float(each.min()), seeds_high=float(each.max()))


def difference_interval(
    a: Real[np.ndarray, "seeds1 facts1"],
    b: Real[np.ndarray, "seeds2 facts2"],
    clusters: Labels,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of a - b over the same seeds and facts under two conditions.

    Arguments and errors as in `mean_interval`.
    """
    _check_paired(a, b)
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return mean_interval(difference, clusters, level=level, resamples=resamples, seed=seed)


def ratio_interval(
    a: Real[np.ndarray, "seeds1 facts1"],
    b: Real[np.ndarray, "seeds2 facts2"],
    clusters: Labels,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of a over mean of b, both conditions resampled together; `null` is 1.

    NaN, with a warning, where b's own interval contains 0: the ratio then has no finite
    interval. `smallest` is for the ratio. Arguments and errors as in `mean_interval`.
    """
    _check_paired(a, b)
    below = mean_interval(b, clusters, level=level, resamples=resamples, seed=seed)
    if not below.shows:
        warnings.warn(
            f"ratio is NaN: its denominator, {below.value:.3g}, has the interval "
            f"[{below.low:.3g}, {below.high:.3g}]",
            stacklevel=2,
        )
        nan = float("nan")
        return Interval(nan, nan, nan, nan, nan, nan, null=1.0)
    columns = _columns(a, b)
    seeds = ratio(columns.sum(1))
    return _interval(columns, ratio, seeds, clusters, level, resamples, seed, null=1.0)


def ratio(sums: Float64[np.ndarray, "... columns"]) -> Float64[np.ndarray, "..."]:
    """First column over second; NaN or infinite, silently, where the second is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def resampled_sums(
    columns: Float64[np.ndarray, "facts columns"],
    clusters: Labels,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float64[np.ndarray, "resamples columns"]:
    """Sum of each column when as many clusters as there are are drawn with replacement."""
    codes = as_codes(clusters, len(columns))
    count = int(codes.max()) + 1
    sums = np.zeros((count, columns.shape[1]))
    np.add.at(sums, codes, columns)
    table = np.ascontiguousarray(sums.T)
    out = np.empty((resamples, columns.shape[1]))
    generator = np.random.default_rng(seed)
    dtype = np.uint16 if count <= 1 << 16 else np.uint32
    step = max(1, CHUNK // count)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        drawn = generator.integers(0, count, size=(stop - start, count), dtype=dtype)
        for column, values in enumerate(table):
            same = np.ptp(values) == 0  # as when each cluster holds one fact
            out[start:stop, column] = count * values[0] if same else values[drawn].sum(1)
    return out


def percentiles(
    draws: Float64[np.ndarray, " resamples"], clusters: Labels, *, level: float = 0.95
) -> tuple[float, float]:
    """Ends of the bootstrap interval, widened for few or unequal clusters.

    Percentiles at the levels where a normal curve equals Student's t, times √(m/(m-1)),
    for m clusters of equal size ("expanded percentile", Hesterberg 2015, arXiv 1411.5279,
    §4.3); unequal ones count as m = (Σn)² / Σn².
    """
    effective = _effective(clusters)
    if _undefined(draws, effective):
        return float("nan"), float("nan")
    student = stats.t.ppf(0.5 + level / 2, effective - 1)
    tail = stats.norm.cdf(-student * np.sqrt(effective / (effective - 1)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def p_value(
    draws: Float64[np.ndarray, " resamples"], clusters: Labels, *, null: float = 0.0
) -> float:
    """Two-sided: 1 - the level at which `percentiles` has its end at `null`.

    Where no resample reaches `null`, p is Student's, of the resamples' mean and spread, and
    no larger than what a further resample that did would give: else p of many tests at
    once, which are multiplied, would tell how many resamples there were. No smaller than a
    sign-flip test's, 2 / 2ᵐ for m clusters. NaN where the interval is NaN, or no resample
    differs from another.

    Small p of a skewed mean of few clusters is too small, as in every test of it: of
    lognormal values 2.3, .8 and .5 % had p below .001 with 20, 40 and 127 clusters, and 14,
    9 and 6 % below .05 (sign flips: 2.5, 1.8, 1.5 and 15, 12, 7 %). Of normal values it is
    right.
    """
    effective = _effective(clusters)
    if _undefined(draws, effective):
        return float("nan")
    beyond = min(int((draws <= null).sum()), int((draws >= null).sum()))
    share = min(0.5, (beyond + 1) / (len(draws) + 1))
    spread = float(draws.std(ddof=1))
    if spread <= ROUNDING * np.abs(draws).max():
        return float("nan")
    normal = -stats.norm.ppf(share)
    if not beyond:
        normal = max(normal, abs(float(draws.mean()) - null) / spread)
    student = normal * np.sqrt((effective - 1) / effective)
    least = 2.0 ** (1 - len(set(as_codes(clusters, len(np.asarray(clusters))))))
    return max(float(2 * stats.t.sf(student, effective - 1)), least)


def _undefined(draws: Float64[np.ndarray, " resamples"], effective: float) -> bool:
    return effective < 1.5 or not np.isfinite(draws).all()


def _effective(clusters: Labels) -> float:
    """As many clusters of equal size: (Σn)² / Σn²."""
    sizes = np.bincount(as_codes(clusters, len(np.asarray(clusters, dtype=object))))
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def _interval(
    columns: Float64[np.ndarray, "seeds facts columns"],
    statistic: Statistic,
    seeds: Float64[np.ndarray, " seeds"],
    clusters: Labels,
    level: float,
    resamples: int,
    seed: int,
    null: float = 0.0,
) -> Interval:
    facts = columns.mean(0)
    sums = resampled_sums(facts, clusters, resamples=resamples, seed=seed)
    draws = statistic(sums)
    low, high = percentiles(draws, clusters, level=level)
    finite = bool(np.isfinite(draws).all())
    if np.isnan(low):
        why = "it needs 2 or more clusters, none of them nearly all facts"
        if not finite:
            why = "the denominator is 0 in a resample: too few clusters have one"
        warnings.warn(f"interval is NaN: {why}", stacklevel=3)
    error = float(draws.std(ddof=1)) if finite else float("nan")
    if error <= ROUNDING * np.abs(draws).max():
        error = float("nan")
    return Interval(
        value=float(statistic(facts.sum(0))),
        low=low,
        high=high,
        seeds_low=float(seeds.min()),
        seeds_high=float(seeds.max()),
        smallest=smallest_difference(error, level=level),
        null=null,
        p_value=p_value(draws, clusters, null=null),
    )


def _mean(sums: Float64[np.ndarray, "... columns"]) -> Float64[np.ndarray, "..."]:
    """Sum over count: the number of facts changes when clusters are drawn anew."""
    return ratio(sums)


def _columns(
    *conditions: Array,
) -> Float64[np.ndarray, "seeds facts columns"]:
    """One condition: its values and ones, for a mean; two: both, for a ratio."""
    arrays = [np.asarray(values, dtype=np.float64) for values in conditions]
    for values in arrays:
        if values.ndim != 2 or not values.size:
            raise InputError(
                f"expected a row a seed and a column a fact, got {values.shape}"
            )
        if np.isnan(values).any():
            row, fact = np.argwhere(np.isnan(values))[0]
            raise InputError(
                f"the value of seed {row}, fact {fact} is missing; leave that fact out"
            )
    if len(arrays) == 1:
        arrays.append(np.ones_like(arrays[0]))
    return np.stack(arrays, axis=-1)


def _check_paired(a: Array, b: Array) -> None:
    if a.shape != b.shape:
        raise InputError(
            f"two conditions need the same seeds and facts, got {a.shape} and {b.shape}"
        )
