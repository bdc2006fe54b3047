"""Intervals for what is no average over facts: answers left out, never drawn twice.

A bootstrap would put copies of a fact beside it. To a measure of pairs of facts, copies are
perfect neighbours on both sides: CKA, RSA and mutual neighbours all rise.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from scipy import stats

from interfere.errors import InputError
from interfere.measures.rows import ROUNDING, Array, Labels, as_codes

GROUPS = 20


@dataclass(frozen=True)
class Jackknife:
    """Numbers of all facts, and how far they move when groups of answers are left out."""

    value: Float64[np.ndarray, "*shape"]
    low: Float64[np.ndarray, "*shape"]
    """Lower end of the interval; NaN where it can't be had."""
    high: Float64[np.ndarray, "*shape"]
    error: Float64[np.ndarray, "*shape"]
    """Standard error."""
    p_value: Float64[np.ndarray, "*shape"]
    """Two-sided, of 0: 1 - the level at which the interval just reaches it."""
    groups: int


def jackknife(
    statistic: Callable[[Int[np.ndarray, " kept"]], Array | float],
    clusters: Labels,
    *,
    groups: int = GROUPS,
    level: float = 0.95,
    seed: int = 0,
) -> Jackknife:
    """value ± t · standard error, by the delete-group jackknife over `clusters`.

    Clusters (answers) are dealt at random into at most `groups` groups, larger ones first,
    each to the group with fewest facts; then each group is left out once. For groups of n_j
    of n facts, h_j = n / n_j, and θ_j without group j: pseudo-values h_j θ - (h_j - 1) θ_j,
    variance Σ (pseudo_j - their mean)² / (h_j - 1) / groups, their mean weighted by n_j.
    Student's t has (Σ n_j)² / Σ n_j² - 1 degrees of freedom.

    It speaks of other answers that might have been asked, not of other seeds or models. What
    all facts but one group have in common with all facts (a bias) it can't see. Rough where
    the statistic jumps, such as the number of directions that SVCCA keeps, and where few
    answers hold most of the facts: `similarity_interval` says how it covers.

    Args:
        statistic: from the indices of facts that are kept, in order, to numbers.
        clusters: one label a fact (its answer): facts that move together.
        groups: at most; fewer where there are fewer clusters.
        level: nominal coverage.
        seed: of the dealing.

    Raises:
        InputError: fewer than two groups asked for, or labels that are missing.

    Source: Busing, Meijer & van der Leeden 1999, doi 10.1023/A:1008800423698 (groups of
    unequal size); Kott 2001, J. Official Statistics 17, 521-526 (clusters dealt into
    groups).
    """
    if groups < 2:
        raise InputError(f"the jackknife needs 2 or more groups, got {groups}")
    codes = as_codes(clusters, len(np.asarray(clusters)))
    dealt = _deal(codes, groups, seed)
    facts, count = len(codes), int(dealt.max()) + 1
    value = np.asarray(statistic(np.arange(facts)), dtype=np.float64)
    nan = np.full_like(value, np.nan)
    if count < 2 or np.isnan(value).all():
        if count < 2:
            warnings.warn("interval is NaN: all facts have one answer", stacklevel=2)
        return Jackknife(value, nan, nan, nan, nan, count)
    without = np.stack(
        [np.asarray(statistic(np.flatnonzero(dealt != group))) for group in range(count)]
    )
    sizes = np.bincount(dealt)
    h = (facts / sizes).reshape(-1, *(1,) * value.ndim)
    pseudo = h * value - (h - 1) * without
    centre = (pseudo / h).sum(0)
    error = np.sqrt((np.square(pseudo - centre) / (h - 1)).mean(0))
    freedom = facts**2 / np.square(sizes).sum() - 1
    width = stats.t.ppf(0.5 + level / 2, freedom) * error
    still = error <= ROUNDING * np.abs(value)
    student = np.abs(value) / np.where(still, np.nan, error)
    p_value = 2 * stats.t.sf(student, freedom)
    ends = value - width, value + width, error, p_value
    low, high, error, p_value = (np.asarray(x) for x in ends)
    return Jackknife(value, low, high, error, p_value, count)


def _deal(codes: Int[np.ndarray, " facts"], groups: int, seed: int) -> np.ndarray:
    """The group of each fact; no group is empty."""
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    held = np.zeros(min(groups, len(sizes)), dtype=np.int64)
    place = np.empty(len(sizes), dtype=np.int64)
    for cluster in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        place[cluster] = held.argmin()
        held[place[cluster]] += sizes[cluster]
    return place[codes]
