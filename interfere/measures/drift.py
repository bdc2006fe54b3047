"""How far each fact's activation moved."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.rows import as_rows


@dataclass(frozen=True)
class Drift:
    """Movement of each fact at one hook and position; a number a fact."""

    drift: Float64[np.ndarray, " facts"]
    """1 - cosine similarity of before and after, in [0, 2]."""
    relative_norm: Float64[np.ndarray, " facts"]
    """‖after‖ / ‖before‖ - 1: 0 where the length is unchanged."""
    displacement: Float64[np.ndarray, " facts"]
    """‖after - before‖ / ‖before‖, in units of the old length."""

    @property
    def cosine(self) -> Float64[np.ndarray, " facts"]:
        """Cosine similarity of before and after, in [-1, 1]."""
        return 1 - self.drift


def drift(
    before: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    after: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
) -> Drift:
    """Movement of each fact; row i is fact i in both. Float64 inside.

    `drift` is blind to positive rescaling of either side; all three to one rotation of
    both. None is blind to a shift. NaN, with a warning, where a row is zero.

    Raises:
        InputError: shapes differ, or a value that isn't finite.

    Source: 1 - cosine of a held-out entity's state: arXiv 2604.15574.
    """
    x, y = as_rows(before, "before"), as_rows(after, "after")
    if x.shape != y.shape:
        raise InputError(
            f"drift needs the same facts and dimensions twice, got {x.shape} and {y.shape}"
        )
    old, new = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    if not (old.all() and new.all()):
        zero = int(np.argmax((old == 0) | (new == 0)))
        warnings.warn(f"drift is NaN: the activation of fact {zero} is zero", stacklevel=2)
    old, new = np.where(old == 0, np.nan, old), np.where(new == 0, np.nan, new)
    # Through the chord: 1 - x·y / (‖x‖‖y‖) would lose small angles to cancellation.
    chord = x / old[:, None] - y / new[:, None]
    return Drift(
        drift=np.square(chord).sum(1) / 2,
        relative_norm=new / old - 1,
        displacement=np.linalg.norm(y - x, axis=1) / old,
    )
