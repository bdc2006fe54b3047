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


def partial_correlation(
    a: Weights, b: Weights, given: Float64[np.ndarray, "facts columns"], weights: Weights
) -> Numbers:
    """Correlation of what least squares on the columns leaves of a and of b.

    In each resample, its weights in the fit too. NaN where the columns give a or b away (up
    to rounding). Source: Yule 1907, doi 10.1098/rspa.1907.0028, for any columns.

    Args:
        a: a value a resample and fact; b likewise.
        given: what is held fixed; its columns span a constant.
        weights: how often each fact counts.
    """
    width = given.shape[1]
    products = (given[:, :, None] * given[:, None, :]).reshape(len(given), -1)
    moments = (weights @ products).reshape(-1, width, width)
    inverse = np.linalg.pinv(moments, rcond=1e-10, hermitian=True)

    def left(values: Weights) -> Weights:
        fit = (inverse @ ((weights * values) @ given)[:, :, None])[:, :, 0]
        rest: Weights = values - fit @ given.T
        mean = (weights * values).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
        all_of_it = (weights * (values - mean) ** 2).sum(1)
        gone = (weights * rest**2).sum(1) <= 1e-9 * all_of_it
        rest[gone] = np.nan
        return rest

    return correlation(left(a), left(b), weights)
