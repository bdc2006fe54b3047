"""Mutual k nearest neighbours: does a fact have the same neighbours in two models?"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.rows import ROUNDING, paired_rows

BLOCK = 1024
"""Facts whose distances to all others are held at once."""


@dataclass(frozen=True)
class MutualKNN:
    """Share of neighbours that a fact keeps."""

    value: float
    """Mean over facts, in [0, 1]; NaN: a row without a direction."""
    chance: float
    """What unrelated rows have on average: k / (n - 1)."""
    per_fact: Float64[np.ndarray, " facts"]
    """Share of its k neighbours before that are neighbours after, in [0, 1]."""
    k: int
    facts: int


def mutual_knn(
    before: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    after: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    *,
    k: int = 10,
    metric: Literal["cosine", "euclidean"] = "cosine",
) -> MutualKNN:
    """Mean of |S(xᵢ) ∩ S(yᵢ)| / k, S: the k nearest other facts; row i is fact i in both.

    A fact is never its own neighbour, also where duplicates lie as near as itself. Where
    the k-th and the next are equally near (up to rounding), the tied facts share the places
    that are left, and the overlap of two shared places is the smaller share: so the order of
    the facts doesn't matter, and a side beside itself always gives 1. Cosine is blind to
    rotation and to each row's scale, not to a shift; euclidean to rotation, shift and one
    scale of a side. Float64 inside; time n², memory 1,024 n.

    The value grows with k / n; compare only those of as many facts and one k.

    Raises:
        InputError: k below 1 or not below n, row counts differ, fewer than 4, or a value
            that isn't finite.

    Source: Huh et al. 2024, arXiv 2405.07987, appendix A (mutual nearest-neighbour metric).
    """
    sides = paired_rows(before, after, "mutual kNN")
    n = len(before)
    if not 1 <= k < n:
        raise InputError(
            f"mutual kNN takes k from 1 to {n - 1} for {n} facts, got {k}; give a smaller k "
            "or more facts"
        )
    x, y = (_placed(rows, metric) for rows in sides)
    for name, rows in (("before", x), ("after", y)):
        if np.isnan(rows).any():
            fact = int(np.argmax(np.isnan(rows).any(1)))
            warnings.warn(
                f"mutual kNN is NaN: {name}, fact {fact} is zero and has no cosine",
                stacklevel=2,
            )
            nan = float("nan")
            return MutualKNN(nan, k / (n - 1), np.full(n, nan), k, n)
    per_fact = np.concatenate(
        [
            np.minimum(_membership(x, start, k), _membership(y, start, k)).sum(1) / k
            for start in range(0, n, BLOCK)
        ]
    )
    return MutualKNN(float(per_fact.mean()), k / (n - 1), per_fact, k, n)


def _placed(
    x: Float64[np.ndarray, "n d"], metric: Literal["cosine", "euclidean"]
) -> Float64[np.ndarray, "n d"]:
    """Of a size near 1; under cosine each row, NaN where it is zero."""
    if metric == "cosine":
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        return x / np.where(norms == 0, np.nan, norms)
    x = x - x.mean(0)
    size = np.linalg.norm(x, axis=1).max()
    return x / size if size else x


def _membership(
    x: Float64[np.ndarray, "n d"], start: int, k: int
) -> Float64[np.ndarray, "block n"]:
    """How far each fact (column) is a neighbour of each fact of the block, in [0, 1]."""
    block = x[start : start + BLOCK]
    # Nearest first under either metric: ‖xᵢ‖² is the same for all neighbours of i.
    near = 2 * block @ x.T - np.square(x).sum(1)
    rows = np.arange(len(block))
    near[rows, rows + start] = -np.inf
    kth = np.partition(near, -k, axis=1)[:, -k, None]
    nearer = near > kth + ROUNDING
    tied = ~nearer & (near >= kth - ROUNDING)
    left = k - nearer.sum(1, keepdims=True)
    return nearer + tied * (left / tied.sum(1, keepdims=True))
