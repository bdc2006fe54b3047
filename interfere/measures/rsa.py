"""Representational similarity analysis: are the same facts far apart in two models?"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64
from scipy import stats
from scipy.spatial import distance
from torch import Tensor

from interfere.measures.rows import ROUNDING, paired_rows

Dissimilarity = Literal["correlation", "cosine", "euclidean"]
"""1 - correlation over dimensions, 1 - cosine, or distance."""


@dataclass(frozen=True)
class RSA:
    """Agreement of two models on which facts are alike."""

    value: float
    """Correlation over pairs of facts, in [-1, 1]; NaN: a side where it isn't defined."""
    facts: int


def rsa(
    before: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    after: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    *,
    dissimilarity: Dissimilarity = "correlation",
    compare: Literal["spearman", "pearson"] = "spearman",
) -> RSA:
    """Correlation of the n (n - 1) / 2 dissimilarities; row i is fact i in both.

    Each side has its own dissimilarities, so dimensions may differ. Every kind is blind to
    a permutation of the dimensions. Besides, *correlation* is blind to scale and shift of
    each single row (one number added to all its dimensions), not to rotation; *cosine* to
    rotation and to the scale of each row, not to a shift; *euclidean* to rotation, shift,
    and one scale of a side. Ties get their mean rank. Float64 inside; memory: some n²
    numbers; time: n² d / 2 without matrix products, and with *spearman* two sortings.

    NaN, with a warning, where all pairs of a side are equally far apart, or a row has no
    direction (a zero row under *cosine*, one of equal numbers under *correlation*).

    Raises:
        InputError: row counts differ, fewer than 4, or a value that isn't finite.

    Source: Kriegeskorte, Mur & Bandettini 2008, doi 10.3389/neuro.06.004.2008.
    """
    sides = paired_rows(before, after, "RSA")
    vectors = [_dissimilarities(rows, dissimilarity) for rows in sides]
    if any(np.ptp(v) <= ROUNDING * np.abs(v).max() or np.isnan(v).any() for v in vectors):
        warnings.warn(
            f"RSA is NaN: under {dissimilarity}, all facts of one side are equally far "
            "apart, or one has no direction",
            stacklevel=2,
        )
        return RSA(float("nan"), len(before))
    if compare == "spearman":
        vectors = [stats.rankdata(v) for v in vectors]
    a, b = (v - v.mean() for v in vectors)
    return RSA(float(a @ b / np.sqrt((a @ a) * (b @ b))), len(before))


def _dissimilarities(
    x: Float64[np.ndarray, "n d"], kind: Dissimilarity
) -> Float64[np.ndarray, " pairs"]:
    """Of each pair once, in scipy's order; NaN where a row has no direction."""
    if kind == "euclidean":
        return distance.pdist(x)
    raw = np.linalg.norm(x, axis=1, keepdims=True)
    if kind == "correlation":
        x = x - x.mean(1, keepdims=True)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    # Pair by pair: a matrix product would round equal pairs differently, and undo ties.
    return distance.pdist(np.where(norms <= ROUNDING * raw, np.nan, x), "cosine")
