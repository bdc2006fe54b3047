"""How many facts of each answer a set takes, so that sets are alike in their answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int


def fill(
    shares: Float[np.ndarray, " n"], bounds: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """min(bound, λ · share) with the λ that makes the sum 1; all bounds if they fall short.

    As near to `shares` as the bounds allow; sums to min(1, sum of bounds where share > 0).
    """
    bounds = np.where(shares > 0, bounds, 0.0)
    if bounds.sum() <= 1:
        return np.asarray(bounds)
    ratio = np.divide(bounds, shares, out=np.full(len(shares), np.inf), where=shares > 0)
    order = np.argsort(ratio, kind="stable")
    full, rest = 0.0, float(shares.sum())
    for i in order:
        scale = (1 - full) / rest if rest > 0 else np.inf
        if scale <= ratio[i]:
            return np.asarray(np.minimum(bounds, scale * shares))
        full += bounds[i]
        rest -= shares[i]
    return np.asarray(bounds)


def matched(
    first: Int[np.ndarray, " n"],
    first_size: int,
    second: Int[np.ndarray, " n"],
    second_size: int,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Proportions of two draws, as near to each other and to the first pool's as can be.

    Args:
        first: facts of each answer in the pool that sets the proportions.
        first_size: facts drawn of it; 0: the second pool's own proportions.
        second: facts of each answer in the other pool.
        second_size: facts drawn of it; 0: the first pool's own proportions.

    Returns:
        Proportions of the first and of the second draw, each summing to 1 unless its pool
        is too small. Equal wherever both pools can be drawn from alike.
    """
    one, two = first / max(1, first_size), second / max(1, second_size)
    if not first_size or not second_size:
        pool, own = (second, two) if not first_size else (first, one)
        only = fill(pool / max(1, pool.sum()), own)
        return only, only
    common = fill(first / max(1, first.sum()), np.minimum(one, two))
    return _complete(common, first, one), _complete(common, second, two)


def _complete(
    common: Float[np.ndarray, " n"],
    pool: Int[np.ndarray, " n"],
    bounds: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    missing = 1 - common.sum()
    if missing <= 1e-12:
        return common
    rest = np.maximum(bounds - common, 0)
    left = np.where(rest > 0, pool, 0)
    return np.asarray(common + missing * fill(left / max(1, left.sum()), rest / missing))


def largest_remainder(
    shares: Float[np.ndarray, " n"], size: int, available: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Whole numbers near size · shares, none above what is available, summing to `size`.

    They sum to less only where all that is available is too little.
    """
    wanted = size * shares
    taken = np.minimum(np.floor(wanted + 1e-9).astype(int), available)
    while (missing := size - int(taken.sum())) > 0 and (taken < available).any():
        short = np.where(taken < available, wanted - taken, -np.inf)
        order = np.argsort(-short, kind="stable")
        order = order[taken[order] < available[order]][:missing]
        taken[order] += 1
    return np.asarray(taken)


def total_variation(one: Mapping[Any, int], other: Mapping[Any, int]) -> float:
    """Half the summed difference of two sets' proportions, in [0, 1]."""
    a, b = max(1, sum(one.values())), max(1, sum(other.values()))
    names = sorted({*one, *other})
    return sum(abs(one.get(name, 0) / a - other.get(name, 0) / b) for name in names) / 2
