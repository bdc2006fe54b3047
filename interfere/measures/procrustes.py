"""Procrustes distance: what is left between two models once one is rotated onto the other."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy import linalg
from torch import Tensor

from interfere.measures.rows import ROUNDING, paired_rows


@dataclass(frozen=True)
class Procrustes:
    """Distance of two arrangements of the same facts."""

    distance: float
    """In [0, 2]; 0: equal up to rotation, scale, shift; NaN: one side constant."""
    facts: int


def procrustes(
    before: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    after: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
) -> Procrustes:
    """min over rotations Q of ‖X - YQ‖²_F; row i is fact i in both. Float64 inside.

    X, Y: rows centred, then divided by their Frobenius norm, so the distance is
    2 - 2 ‖XᵀY‖_*. Q may reflect; the side with fewer dimensions is filled with zeros.
    Blind to rotation, scale and shift of either side, not to other linear maps. Its square
    root is a metric.

    Not debiased: with fewer facts than dimensions even unrelated rows can be turned onto
    each other, so compare only distances of as many facts in as many dimensions.

    Raises:
        InputError: row counts differ, fewer than 4, or a value that isn't finite.

    Source: Ding et al. 2021, arXiv 2108.01661, §3 (orthogonal Procrustes).
    """
    sides = paired_rows(before, after, "the Procrustes distance")
    x, y = (_normalised(rows) for rows in sides)
    if not (x.any() and y.any()):
        warnings.warn("Procrustes distance is NaN: one side is constant", stacklevel=2)
        return Procrustes(float("nan"), len(x))
    distance = 2 - 2 * float(linalg.svdvals(x.T @ y).sum())
    return Procrustes(max(distance, 0.0), len(x))


def _normalised(x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n few"]:
    """Centred, of norm 1, in at most n dimensions; all 0 if constant."""
    raw = np.square(x).sum()
    x = x - x.mean(0)
    size = np.square(x).sum()
    if size <= ROUNDING * raw:
        return np.zeros((len(x), 1))
    x = x / np.sqrt(size)
    # Rotating the rows into the space that they span changes no nuclear norm.
    return linalg.qr(x.T, mode="economic")[1].T if x.shape[1] > len(x) else x
