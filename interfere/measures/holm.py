"""Holm's step-down: p-values of many tests at once, such as a test a layer."""

import numpy as np
from jaxtyping import Float, Float64

from interfere.errors import InputError


def holm(p_values: Float[np.ndarray, " tests"]) -> Float64[np.ndarray, " tests"]:
    """p-values adjusted so that any false one among them has at most the stated chance.

    In [0, 1], never below the raw ones; valid however the tests depend on each other. NaN
    stays NaN and doesn't count: a layer that couldn't be tested.

    Raises:
        InputError: a value outside [0, 1].

    Source: Holm 1979, Scand. J. Statist. 6:65: the i-th smallest of m times m - i + 1, then
    made not to fall.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    tested = ~np.isnan(raw)
    if ((raw[tested] < 0) | (raw[tested] > 1)).any():
        worst = raw[tested][np.abs(raw[tested] - 0.5).argmax()]
        raise InputError(f"a p-value lies in [0, 1], got {worst:g}")
    order = np.argsort(raw, kind="stable")[: tested.sum()]  # NaN sorts last
    stepped = raw[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(raw), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted
