"""Singular values of a change of weights, and how many directions it has."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy import linalg, special
from torch import Tensor

from interfere.errors import InputError


@dataclass(frozen=True)
class LowRank:
    """A matrix left @ right that is never formed, such as a LoRA adapter's delta."""

    left: Float64[np.ndarray, "out r"]
    right: Float64[np.ndarray, "r in"]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        return len(self.left), self.right.shape[1]


@dataclass(frozen=True)
class Spectrum:
    """A singular value decomposition: matrix = left @ diag(singular_values) @ right.T."""

    singular_values: Float64[np.ndarray, " k"]
    """Falling, never negative."""
    left: Float64[np.ndarray, "out k"]
    """Orthonormal columns; signs are arbitrary, but a pair's two signs go together."""
    right: Float64[np.ndarray, "in k"]

    @property
    def norm(self) -> float:
        """Frobenius."""
        return float(np.sqrt(np.square(self.singular_values).sum()))

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the singular values as shares of their sum.

        In [1, k]; blind to scale, rotation and transposition; NaN for a zero matrix. Small
        values count: noise in all directions raises it far more than the stable rank.

        Source: Roy and Vetterli 2007, EUSIPCO, def. 1.
        """
        total = self.singular_values.sum()
        if total == 0:
            return float("nan")
        shares = self.singular_values / total
        return float(np.exp(special.entr(shares).sum()))

    @property
    def stable_rank(self) -> float:
        """Squared Frobenius norm over squared largest singular value.

        In [1, k], at most the rank; same invariances; NaN for a zero matrix.

        Source: Rudelson and Vershynin 2007, J. ACM 54(4):21.
        """
        if not self.singular_values[0]:
            return float("nan")
        return float(np.square(self.singular_values / self.singular_values[0]).sum())

    @property
    def top_share(self) -> float:
        """Of the squared norm, the first direction's part: 1 / stable rank."""
        return 1 / self.stable_rank


def spectrum(
    matrix: Float[np.ndarray, "out in"] | Float[Tensor, "out in"] | LowRank,
    name: str = "matrix",
) -> Spectrum:
    """Thin singular value decomposition, in float64.

    A `LowRank` matrix is decomposed through the QR of its two factors: time and memory
    (out + in)·r², and no more than r singular values.

    Raises:
        InputError: not a matrix, or a value that isn't finite.
    """
    if isinstance(matrix, LowRank):
        q_left, r_left = linalg.qr(_finite(matrix.left, name), mode="economic")
        q_right, r_right = linalg.qr(_finite(matrix.right, name).T, mode="economic")
        u, values, vt = linalg.svd(r_left @ r_right.T, full_matrices=False)
        return Spectrum(values, q_left @ u, q_right @ vt.T)
    u, values, vt = linalg.svd(_finite(matrix, name), full_matrices=False)
    return Spectrum(values, u, vt.T)


def _finite(matrix: np.ndarray | Tensor, name: str) -> Float64[np.ndarray, "out in"]:
    if isinstance(matrix, Tensor):
        matrix = matrix.detach().cpu().double().numpy()
    if matrix.ndim != 2 or not matrix.size:
        raise InputError(f"{name}: expected a matrix [out, in], got {matrix.shape}")
    if not np.isfinite(matrix).all():
        count = int((~np.isfinite(matrix)).sum())
        raise InputError(f"{name}: {count} of {matrix.size} weights are NaN or infinite")
    return np.asarray(matrix, dtype=np.float64)
