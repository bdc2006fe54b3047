"""Principal subspaces of sets of facts, and how alike two of them are."""

import warnings

import numpy as np
from jaxtyping import Float, Float64
from scipy import linalg
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.rows import ROUNDING, as_rows


def principal_subspace(
    x: Float[np.ndarray, "n ..."] | Float[Tensor, "n ..."], rank: int
) -> Float64[np.ndarray, "d rank"]:
    """Orthonormal basis of the `rank` directions in which the rows vary most.

    Rows are centred by their own mean. Columns come in order of falling variance, their
    signs are arbitrary. All NaN, with a warning, where the rows vary in fewer directions:
    then no subspace of that rank is theirs.

    Raises:
        InputError: rank below 1, not below n, or above d; a value that isn't finite.
    """
    rows = as_rows(x)
    check_rank(rank, rows.shape[0], rows.shape[1])
    found = basis(rows, rank)
    if np.isnan(found).any():
        warnings.warn(
            f"subspace is NaN: the rows vary in fewer than {rank} directions", stacklevel=2
        )
    return found


def similarity(
    a: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    b: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    rank: int,
) -> float:
    """‖U_Aᵀ U_B‖²_F / rank: mean squared cosine of the principal angles.

    In [0, 1]; 0: orthogonal, 1: one subspace; rank / d for unrelated ones. Rows are
    different facts; with fewer rows subspaces are noisier and the value is lower, so
    compare values from as many rows only. NaN as in `principal_subspace`.

    Raises:
        InputError: dimensions differ, or as in `principal_subspace`.
    """
    u, v = principal_subspace(a, rank), principal_subspace(b, rank)
    if len(u) != len(v):
        raise InputError(f"subspaces lie in {len(u)} and {len(v)} dimensions; use one hook")
    return alike(u, v)


def alike(u: Float64[np.ndarray, "d k"], v: Float64[np.ndarray, "d k"]) -> float:
    """`similarity` of two orthonormal bases."""
    return float(np.square(u.T @ v).sum() / u.shape[1])


def check_rank(rank: int, rows: int, dimensions: int) -> None:
    """Refuse a rank that so many rows, each centred, can't have."""
    if not 1 <= rank <= min(rows - 1, dimensions):
        raise InputError(
            f"rank must be from 1 to {min(rows - 1, dimensions)} for {rows} rows, got "
            f"{rank}; give a smaller rank or more facts"
        )


def basis(x: Float64[np.ndarray, "n d"], rank: int) -> Float64[np.ndarray, "d rank"]:
    """`principal_subspace` without its checks and its warning."""
    raw = np.square(x).sum()
    x = x - x.mean(0)
    wide = x.shape[0] < x.shape[1]
    product = x @ x.T if wide else x.T @ x
    side = len(product)
    variance, vectors = linalg.eigh(product, subset_by_index=[side - rank, side - 1])
    variance, vectors = variance[::-1], vectors[:, ::-1]
    if variance[-1] <= ROUNDING * max(variance[0], raw * ROUNDING):
        return np.full((x.shape[1], rank), np.nan)
    return x.T @ (vectors / np.sqrt(variance)) if wide else vectors
