"""Rank statistics of facts that count more than once, many resamples at a time."""

import numpy as np
from jaxtyping import Bool, Float64

Values = Float64[np.ndarray, " facts"]
Weights = Float64[np.ndarray, "resamples facts"]
Numbers = Float64[np.ndarray, " resamples"]


def midranks(values: Values, weights: Weights) -> Weights:
    """Ranks from 1, ties averaged, as if each fact stood there `weights` times.

    With weights of 1 scipy's `rankdata`. Blind to any rising function of the values.
    """
    order = np.argsort(values, kind="stable")
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    middle: Weights = tied.cumsum(axis=1) - (tied - 1) / 2
    return middle[:, group]


def auc(score: Values, event: Bool[np.ndarray, " facts"], weights: Weights) -> Numbers:
    """Chance that a fact with the event scores higher than one without; ties count half.

    In [0, 1]; .5: the score says nothing. NaN where a resample has only one kind.
    """
    ranks = midranks(score, weights)
    with_event = weights[:, event].sum(1)
    without = weights[:, ~event].sum(1)
    above = (weights * ranks)[:, event].sum(1) - with_event * (with_event + 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Numbers = above / (with_event * without)
    return found


def correlation(a: Weights, b: Weights, weights: Weights) -> Numbers:
    """Pearson's, in each resample; NaN where one side is constant."""
    total = weights.sum(1, keepdims=True)
    a = a - (weights * a).sum(1, keepdims=True) / total
    b = b - (weights * b).sum(1, keepdims=True) / total
    products = ((weights * x * y).sum(1) for x, y in ((a, b), (a, a), (b, b)))
    ab, aa, bb = products
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Numbers = ab / np.sqrt(aa * bb)
    return found


def partial(ab: Numbers, ac: Numbers, bc: Numbers) -> Numbers:
    """Correlation of a and b given c, from the three plain ones.

    (r_ab - r_ac r_bc) / √((1 - r_ac²)(1 - r_bc²)); NaN where c gives a or b away (up to
    rounding). Source: Kendall 1942, Biometrika 32, 277-283, for ranks.
    """
    left = (1 - ac**2) * (1 - bc**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Numbers = np.where(left > 1e-12, (ab - ac * bc) / np.sqrt(left), np.nan)
    return found
