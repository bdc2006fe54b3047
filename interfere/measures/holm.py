"""Many tests at once: Holm's correction."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from interfere.errors import InputError


def holm(
    p_values: Float[np.ndarray, " tests"] | Sequence[float],
) -> Float64[np.ndarray, " tests"]:
    """Adjusted p-values: all that are at most α hold together, wrong with probability ≤ α.

    max over j ≤ i of min(1, (m - j + 1) · p₍ⱼ₎), in the order of the p-values; at least as
    large as what is given, whatever the dependence between tests. NaN stays NaN and
    doesn't count as a test.

    Raises:
        InputError: a value outside [0, 1].

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    given = np.asarray(p_values, dtype=np.float64)
    outside = (given < 0) | (given > 1)
    if outside.any():
        place = int(np.argmax(outside))
        raise InputError(f"p-value {place} is {given[place]}; give values from 0 to 1")
    adjusted = given.copy()
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted
