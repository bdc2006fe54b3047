"""A trained probe: an affine map from an activation to a score a class."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int


@dataclass(frozen=True)
class Reader:
    """Reads the class with the highest score."""

    weights: Float64[np.ndarray, "d classes"]
    bias: Float64[np.ndarray, " classes"]
    """-inf for a class that was not there to learn."""
    strength: float
    """The regularisation that it was trained with."""

    def scores(self, x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n classes"]:
        """Log-odds up to a constant a row."""
        return x @ self.weights + self.bias

    def read(self, x: Float64[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
        """The class of each row."""
        return self.scores(x).argmax(1)


Trainer = Callable[[tuple[int, ...], tuple[float, ...]], list[Reader]]
"""Trains on all facts but those of some folds: a reader a strength."""


def unscaled(
    weights: Float64[np.ndarray, "d there"],
    bias: Float64[np.ndarray, " there"],
    mean: Float64[np.ndarray, " d"],
    scale: Float64[np.ndarray, " d"],
    there: Int[np.ndarray, " there"],
    classes: int,
    strength: float,
) -> Reader:
    """The reader of plain rows, from one of scaled rows that knows some of the classes."""
    whole = np.zeros((len(mean), classes))
    offset = np.full(classes, -np.inf)
    whole[:, there] = weights / scale[:, None]
    offset[there] = bias - mean @ whole[:, there]
    return Reader(whole, offset, strength)
