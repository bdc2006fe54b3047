"""Linear discriminant from sums that add up over folds: one pass over the rows for all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from scipy import linalg

from interfere.measures.reader import Reader, Trainer, unscaled
from interfere.measures.rows import ROUNDING

SHRINKAGES = (0.001, 0.01, 0.1, 0.4, 0.9)


@dataclass(frozen=True)
class Sums:
    """All that a linear discriminant needs to know of some rows."""

    counts: Float64[np.ndarray, " classes"]
    rows: Float64[np.ndarray, "classes d"]
    """Sum of each class's rows."""
    products: Float64[np.ndarray, "d d"]
    """Sum of the rows' outer products."""

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(
            self.counts - other.counts,
            self.rows - other.rows,
            self.products - other.products,
        )


def sums(x: Float64[np.ndarray, "n d"], codes: Int[np.ndarray, " n"], classes: int) -> Sums:
    """Of rows that should be near zero in the mean, or digits are lost."""
    members = np.eye(classes)[codes]
    return Sums(members.sum(0), members.T @ x, x.T @ x)


def discriminants(of: Sums, shrinkages: Sequence[float]) -> list[Reader]:
    """Shrunk linear discriminant analysis, a reader a shrinkage in (0, 1].

    Each dimension is scaled to variance 1 over all rows. The log-odds of a class are
    xᵀS⁻¹μ - ½μᵀS⁻¹μ + log(n_class / n), where S = (1 - γ)W + γ tr(W)/d · I and W is the
    covariance within classes. A class without rows is never read.

    Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, §4.3,
    on scaled rows; shrunk as in Ledoit & Wolf 2004.
    """
    n, d = of.counts.sum(), len(of.products)
    there = np.flatnonzero(of.counts)
    mean, square = of.rows.sum(0) / n, np.diag(of.products) / n
    variance = square - np.square(mean)
    varies = variance > ROUNDING * square
    scale = np.sqrt(np.where(varies, variance, 1.0))
    prior = of.counts[there] / n
    own = of.rows[there] / of.counts[there, None]
    centred = np.where(varies, (own - mean) / scale, 0.0)
    total = (of.products / n - np.outer(mean, mean)) / np.outer(scale, scale)
    within = np.where(np.outer(varies, varies), total, 0.0)
    within -= (centred * prior[:, None]).T @ centred
    level = max(float(np.trace(within)) / d, ROUNDING)
    readers = []
    for shrinkage in shrinkages:
        shrunk = (1 - shrinkage) * within
        shrunk[np.diag_indices(d)] += shrinkage * level
        factor = linalg.cho_factor(shrunk, overwrite_a=True, check_finite=False)
        weights = linalg.cho_solve(factor, centred.T, check_finite=False)
        bias = np.log(prior) - 0.5 * (centred.T * weights).sum(0)
        readers.append(
            unscaled(weights, bias, mean, scale, there, len(of.counts), shrinkage)
        )
    return readers


def discriminant_trainer(
    x: Float64[np.ndarray, "n d"], codes: Int[np.ndarray, " n"], fold: Int[np.ndarray, " n"]
) -> Trainer:
    """Trains `discriminants`; memory: d² numbers a fold."""
    classes = int(codes.max()) + 1
    parts = [
        sums(x[fold == k], codes[fold == k], classes) for k in range(int(fold.max()) + 1)
    ]
    whole = sums(x, codes, classes)

    def train(left_out: tuple[int, ...], strengths: tuple[float, ...]) -> list[Reader]:
        rest = whole
        for k in left_out:
            rest = rest - parts[k]
        return discriminants(rest, strengths)

    return train
