"""Centred kernel alignment: are facts arranged alike in two models?"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interfere.measures.rows import ROUNDING, paired_rows


@dataclass(frozen=True)
class CKA:
    """How alike the arrangement of the same facts is in two models."""

    value: float
    """In [-1, 1]; 1: equal up to rotation, scale, shift; NaN: one side constant."""
    facts: int


def cka(
    before: Float[Tensor, "n1 ..."] | Float[np.ndarray, "n1 ..."],
    after: Float[Tensor, "n2 ..."] | Float[np.ndarray, "n2 ..."],
) -> CKA:
    """Debiased linear CKA; row i is fact i in both. Float64 inside.

    Near 0 for unrelated rows, where plain CKA nears 1 if d > n; never clamped.
    Memory: n² numbers, or d² where both sides have more facts than dimensions.

    Raises:
        InputError: row counts differ, fewer than 4, or a value that isn't finite.

    Source: arXiv 2010.15327, eq. 3, as a cosine of U-centred Gram matrices.
    """
    x, y = (torch.from_numpy(rows) for rows in paired_rows(before, after, "CKA"))
    wide = max(x.shape[1], y.shape[1]) >= len(x)
    value = _from_grams(x, y) if wide else _from_features(x, y)
    if np.isnan(value):
        warnings.warn("CKA is NaN: one side is constant", stacklevel=2)
    return CKA(value, len(before))


def _from_grams(x: Float[Tensor, "n d1"], y: Float[Tensor, "n d2"]) -> float:
    a, b = _u_centre(x), _u_centre(y)
    return float((a * b).sum() / (a.norm() * b.norm()))


def _u_centre(x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    noise = float(ROUNDING * x.square().sum())
    x = x - x.mean(0)  # changes no result, saves digits
    return u_centre(x @ x.T, noise)


def u_centre(gram: Float[Tensor, "n n"], noise: float) -> Float[Tensor, "n n"]:
    """A Gram matrix whose diagonal is 0 and whose rows sum to 0; all 0 if below `noise`.

    Overwrites the diagonal of `gram`. Source: Székely & Rizzo 2014, definition 2.
    """
    n = len(gram)
    gram.fill_diagonal_(0)
    rows = gram.sum(0) / (n - 2)
    total = gram.sum() / ((n - 1) * (n - 2))
    centred = (gram - rows - rows[:, None] + total).fill_diagonal_(0)
    return centred if centred.norm() > noise else torch.zeros_like(centred)


def _from_features(x: Float[Tensor, "n d1"], y: Float[Tensor, "n d2"]) -> float:
    """The same number without an n x n matrix."""
    noise = [(ROUNDING * z.square().sum()) ** 2 for z in (x, y)]
    x, y = x - x.mean(0), y - y.mean(0)
    own = [_product(z, z) for z in (x, y)]
    if any(a <= b for a, b in zip(own, noise, strict=True)):
        return float("nan")
    return float(_product(x, y) / (own[0] * own[1]).sqrt())


def _product(x: Float[Tensor, "n d1"], y: Float[Tensor, "n d2"]) -> Tensor:
    """Inner product of the U-centred Gram matrices of centred rows.

    With its diagonal dropped, a centred Gram matrix has the row sums -‖xᵢ‖².
    """
    a, b = x.square().sum(1), y.square().sum(1)
    cross, rows = (x.T @ y).square().sum(), a @ b
    return debiased(len(x), cross, rows, a.sum() * b.sum(), rows)


def debiased(
    n: int, cross: Tensor, squares: Tensor, totals: Tensor, rows: Tensor
) -> Tensor:
    """Inner product of the U-centred Gram matrices of X and Y, from sums over n facts.

    n (n - 3) times the HSIC₁ of arXiv 2010.15327, eq. 3. K, L: the Gram matrices without
    their diagonals, of rows that need not be centred.

    Args:
        n: facts.
        cross: ‖XᵀY‖².
        squares: Σ ‖xᵢ‖² ‖yᵢ‖².
        totals: the sum of all of K times that of all of L.
        rows: inner product of the row sums of K and of L.
    """
    exact = cross - squares + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows
    # Where all rows are equally far apart, this is 0 and what is left is rounding.
    noise = 1e-13 * (cross + squares)
    return torch.where(exact.abs() > noise, exact, torch.zeros_like(exact))
