"""Permutation tests that move whole clusters of facts.

Facts with one answer move together, so an answer's facts change sign, or change sides, as
one. p = (1 + # at least as extreme) / (1 + N) over N random rearrangements (Phipson and
Smyth 2010, SAGMB 9:39): never 0, and uniform where there is no effect. Where there are no more
than N rearrangements in all, each is tried once and p is exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb

import numpy as np
from jaxtyping import Float64, Int, Real

from interfere.errors import InputError
from interfere.measures.rows import Labels, as_codes

PERMUTATIONS = 9_999
CHUNK = 1 << 21
"""Signs or labels held in memory at a time."""


@dataclass(frozen=True)
class PermutationTest:
    """A number, and how often chance alone gives one as extreme."""

    value: float
    p_value: float
    """Two-sided; in (0, 1]; 1 where all rearrangements give the same."""
    arrangements: int
    """How many were counted, the observed one among them."""
    exact: bool
    """All there are, each once."""


def sign_flip_test(
    differences: Real[np.ndarray, "seeds facts"],
    clusters: Labels,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> PermutationTest:
    """Is the mean of paired differences 0? Signs are flipped cluster by cluster.

    Null: each cluster's summed difference is as likely as its negative, clusters apart from
    each other. Seeds are averaged first: they are no sample. m clusters give no p below
    2 / 2ᵐ, so 5 or fewer never reach .05.

    Args:
        differences: one condition less the other, by seed and fact.
        clusters: one label a fact (its answer).
        permutations: random sign patterns; all 2ᵐ patterns instead where they are fewer.
        seed: of the patterns.

    Raises:
        InputError: a value that isn't finite, labels that don't match, permutations below 1.
    """
    values = _finite("differences", differences, 2)
    _check_permutations(permutations)
    codes = as_codes(clusters, values.shape[1])
    sums = np.bincount(codes, values.mean(0))
    facts, observed = values.shape[1], float(sums.sum())
    exact = len(sums) < 60 and 2 ** len(sums) <= permutations + 1
    patterns = (
        _all_signs(len(sums)) if exact else _random_signs(len(sums), permutations, seed)
    )
    drawn = np.concatenate([signs @ sums for signs in patterns])
    return _test(observed / facts, drawn / facts, float(np.abs(sums).sum() / facts), exact)


def two_sample_test(
    a: Real[np.ndarray, " facts1"],
    b: Real[np.ndarray, " facts2"],
    clusters_a: Labels,
    clusters_b: Labels,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> PermutationTest:
    """Is the mean of a that of b, for other facts with other answers?

    The labels a and b are dealt out anew to whole clusters, as many of each as there were;
    `value` is mean(a) - mean(b) over facts. Null: clusters (values and size) are exchangeable.

    Args:
        a: one number a fact.
        b: one number a fact, of other facts.
        clusters_a: one label a fact of a (its answer).
        clusters_b: one label a fact of b; no label of a's.
        permutations: random deals; all of them instead where they are fewer.
        seed: of the deals.

    Raises:
        InputError: a cluster in both samples, or as in `sign_flip_test`.
    """
    first, second = _finite("a", a, 1), _finite("b", b, 1)
    _check_permutations(permutations)
    codes_a, codes_b = as_codes(clusters_a, len(first)), as_codes(clusters_b, len(second))
    if shared := set(np.asarray(clusters_a, object)) & set(np.asarray(clusters_b, object)):
        raise InputError(
            f"the cluster {sorted(map(str, shared))[0]!r} is in both samples; give "
            "sign_flip_test the difference of its two means"
        )
    sides = int(codes_a.max()) + 1
    codes = np.concatenate([codes_a, codes_b + sides])
    columns = np.stack([np.bincount(codes, np.concatenate([first, second])),
                        np.bincount(codes)])  # fmt: skip
    count = columns.shape[1]
    exact = comb(count, sides) <= permutations + 1
    deals = (
        _all_deals(count, sides)
        if exact
        else _random_deals(count, sides, permutations, seed)
    )
    total = columns.sum(1)
    drawn = []
    for chosen in deals:
        own = columns[:, chosen].sum(-1)
        rest = total[:, None] - own
        drawn.append(own[0] / own[1] - rest[0] / rest[1])
    size = float(np.abs(np.concatenate([first, second])).mean())
    return _test(float(first.mean() - second.mean()), np.concatenate(drawn), size, exact)


def _test(
    observed: float, drawn: Float64[np.ndarray, " n"], size: float, exact: bool
) -> PermutationTest:
    """`drawn` holds the observed arrangement where it is exact."""
    slack = 1e-9 * size  # rounding must not make an arrangement differ from itself
    extreme = int((np.abs(drawn) >= abs(observed) - slack).sum())
    total = len(drawn) + (not exact)
    return PermutationTest(observed, (extreme + (not exact)) / total, total, exact)


def _finite(name: str, values: np.ndarray, axes: int) -> Float64[np.ndarray, "..."]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != axes or not array.size:
        shape = "a row a seed and a column a fact" if axes == 2 else "a number a fact"
        raise InputError(f"{name}: expected {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        fact = int(np.argwhere(~np.isfinite(array))[0][-1])
        raise InputError(f"{name}: the value of fact {fact} isn't finite; leave it out")
    return array


def _check_permutations(permutations: int) -> None:
    if permutations < 1:
        raise InputError(f"permutations must be at least 1, got {permutations}")


def _all_signs(count: int) -> Iterator[Int[np.ndarray, "n count"]]:
    numbers = np.arange(2**count)
    yield 1 - 2 * (numbers[:, None] >> np.arange(count) & 1)


def _random_signs(
    count: int, permutations: int, seed: int
) -> Iterator[Float64[np.ndarray, "n count"]]:
    generator = np.random.default_rng(seed)
    for rows in _parts(permutations, count):
        bits = generator.integers(0, 2, size=(rows, count), dtype=np.int8)
        yield 1.0 - 2.0 * bits


def _all_deals(count: int, sides: int) -> Iterator[Int[np.ndarray, "n sides"]]:
    deals = combinations(range(count), sides)
    flat = np.fromiter(chain.from_iterable(deals), dtype=np.int64)
    yield flat.reshape(-1, sides)


def _random_deals(
    count: int, sides: int, permutations: int, seed: int
) -> Iterator[Int[np.ndarray, "n sides"]]:
    generator = np.random.default_rng(seed)
    for rows in _parts(permutations, count):
        yield generator.random((rows, count)).argpartition(sides - 1, axis=1)[:, :sides]


def _parts(permutations: int, count: int) -> Iterator[int]:
    step = max(1, CHUNK // count)
    for begin in range(0, permutations, step):
        yield min(step, permutations - begin)
