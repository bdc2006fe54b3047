"""SVCCA: do two models' main directions carry the same information about the facts?"""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy import linalg
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.rows import ROUNDING, paired_rows


@dataclass(frozen=True)
class SVCCA:
    """How well each of two sets of main directions can be read off the other, linearly."""

    value: float
    """Mean canonical correlation, in [0, 1]; NaN: a side constant, or too few facts."""
    correlations: Float64[np.ndarray, " kept"]
    """Falling; as many as the side with fewer directions has."""
    kept_before: int
    """Directions kept before."""
    kept_after: int
    facts: int


def svcca(
    before: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    after: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    *,
    variance: float = 0.99,
) -> SVCCA:
    """Mean canonical correlation of the principal directions; row i is fact i in both.

    Each side is centred and cut to the fewest principal directions that hold `variance` of
    its variance. Blind to rotation, scale and shift of either side; to any invertible map
    only where no direction is cut. A direction counts as much as any other, however little
    varies along it. Float64 inside.

    Biased upward: for unrelated sides of a and b directions the mean squared correlation is
    max(a, b) / (n - 1). Where a + b is n or more, some correlations are 1 by arithmetic:
    NaN, with a warning.

    Raises:
        InputError: variance outside (0, 1], row counts differ, fewer than 4, or a value
            that isn't finite.

    Source: Raghu et al. 2017, arXiv 1706.05806, §2.
    """
    if not 0 < variance <= 1:
        raise InputError(f"variance must be above 0 and at most 1, got {variance}")
    u, v = (_left(rows, variance) for rows in paired_rows(before, after, "SVCCA"))
    n, kept = len(u), (u.shape[1], v.shape[1])
    why = ""
    if 0 in kept:
        why = "one side is constant"
    elif sum(kept) >= n:
        why = (
            f"{kept[0]} and {kept[1]} directions of {n} facts correlate by arithmetic; use "
            "more facts or a lower variance"
        )
    if why:
        warnings.warn(f"SVCCA is NaN: {why}", stacklevel=2)
        return SVCCA(float("nan"), np.full(min(kept), np.nan), *kept, n)
    correlations = np.minimum(linalg.svdvals(u.T @ v), 1)
    return SVCCA(float(correlations.mean()), correlations, *kept, n)


def _left(x: Float64[np.ndarray, "n d"], variance: float) -> Float64[np.ndarray, "n kept"]:
    """Left singular vectors of the kept directions: their scores, each of length 1."""
    raw = np.square(x).sum()
    vectors, values, _ = linalg.svd(x - x.mean(0), full_matrices=False)
    held = np.cumsum(np.square(values))
    if held[-1] <= ROUNDING * raw:
        return vectors[:, :0]
    least = ROUNDING * values[0]  # of such directions only rounding is left
    kept = int(np.searchsorted(held, variance * held[-1])) + 1
    return vectors[:, : min(kept, int((values > least).sum()))]
