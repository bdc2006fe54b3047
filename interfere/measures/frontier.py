"""How much old knowledge is left at each amount of new knowledge, as one number."""

import numpy as np
from jaxtyping import Float, Float64

from interfere.errors import InputError


def frontier_area(
    plasticity: Float[np.ndarray, "*draws points"],
    kept: Float[np.ndarray, "*draws points"],
    *,
    repaired: bool = False,
) -> Float64[np.ndarray, "*draws"]:
    """Mean, over the plasticity that there was to gain, of what is kept at it; in [0, 1].

    At each level x the best of the curve's points that learnt x or more counts, points
    between two evaluations lying on the straight line; where none learnt x, 0. The levels
    run from the first evaluation's plasticity to 1. So a run that learns nothing gets 0
    for keeping everything, one that learns all and loses nothing gets 1.

    Args:
        plasticity: by evaluation, in order; the first before any training.
        kept: 1 - net loss at the same evaluations; may exceed 1 by noise.
        repaired: what comes after the first evaluation are repairs of a tuned model, to
            which no straight line leads from the start: between the two nothing is kept.

    Raises:
        InputError: curves of unlike shape, or fewer than two evaluations.
    """
    if plasticity.shape != kept.shape or plasticity.shape[-1] < 2:
        raise InputError(
            f"expected two curves over the same two or more evaluations, got shapes "
            f"{plasticity.shape} and {kept.shape}"
        )
    p, k = np.asarray(plasticity, np.float64), np.asarray(kept, np.float64)
    if repaired:
        p, k = np.insert(p, 1, p[..., 0], axis=-1), np.insert(k, 1, 0.0, axis=-1)
    first = p[..., :1]
    levels = first + (1 - first) * _MIDDLES
    best = np.zeros(levels.shape)
    for left in range(p.shape[-1] - 1):
        p0, p1 = p[..., left, None], p[..., left + 1, None]
        k0, k1 = k[..., left, None], k[..., left + 1, None]
        # at an end of the segment, or where it crosses the level on the way
        best = np.where(p1 >= levels, np.maximum(best, k1), best)
        best = np.where(p0 >= levels, np.maximum(best, k0), best)
        crossed = (p0 < levels) != (p1 < levels)
        with np.errstate(invalid="ignore", divide="ignore"):
            at = k0 + (k1 - k0) * (levels - p0) / (p1 - p0)
        best = np.where(crossed, np.maximum(best, at), best)
    return np.asarray(best.mean(-1))


_LEVELS = 200
_MIDDLES = (np.arange(_LEVELS) + 0.5) / _LEVELS
