"""What a number would be if labels meant nothing: its values under permuted labels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from interfere.errors import InputError

PERMUTATIONS = 999


@dataclass(frozen=True)
class Permuted:
    """A number's distribution when labels are permuted, and where the true one lies in it."""

    mean: float
    low: float
    """2.5 % of the permutations give less."""
    high: float
    """2.5 % give more."""
    p_value: float
    """Two-sided: twice the share at least as far out on the nearer side, the true labels
    counted in; at least 2 / (1 + permutations), at most 1. Uniform where facts (not whole
    answers) were dealt to the two sets by chance."""


def against_permuted(
    value: float, permuted: Float64[np.ndarray, " permutations"]
) -> Permuted:
    """Lay a value beside those of permuted labels.

    NaN where the value or a permutation's is.

    Raises:
        InputError: no permutations.
    """
    if not len(permuted):
        raise InputError("permutations must be 1 or more, got 0")
    if not (np.isfinite(value) and np.isfinite(permuted).all()):
        return Permuted(*(float("nan"),) * 4)
    # Equal up to rounding is equal: sums come in another order.
    slack = 1e-12 * max(abs(value), float(np.abs(permuted).max()))
    above = 1 + int((permuted >= value - slack).sum())
    below = 1 + int((permuted <= value + slack).sum())
    low, high = np.quantile(permuted, [0.025, 0.975]).tolist()
    p_value = min(1.0, 2 * min(above, below) / (1 + len(permuted)))
    return Permuted(float(permuted.mean()), low, high, p_value)
