"""Disjoint halves of sets of facts: the error of what can't be bootstrapped.

A bootstrap draws facts twice, and the subspace of repeated rows is not that of as many
different ones. Two halves that share no fact give two independent values, each from half
the rows; half their squared difference is the variance at that size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy import stats

from interfere.measures.rows import Array, Labels, as_codes

HALVINGS = 16

Codes = Int[np.ndarray, "_"]
"""A cluster for each fact of a set; sets differ in their number of facts."""

Half = list[Bool[np.ndarray, "_"]]
"""For each set of facts, which of them are in the half."""


def set_codes(
    answers: Sequence[Labels] | None, sizes: Sequence[int], name: str
) -> list[Codes]:
    """A code a fact for each set, equal in two sets where the answer is.

    Without answers every fact has its own.

    Raises:
        InputError: not one label a fact, or a label that is missing.
    """
    if answers is not None:
        for labels, size in zip(answers, sizes, strict=True):
            as_codes(labels, size, f"{name}, answers")
        codes = as_codes([label for labels in answers for label in labels], sum(sizes))
    else:
        codes = np.arange(sum(sizes))
    return np.split(codes, np.cumsum(sizes)[:-1])


def halve(clusters: Sequence[Codes], generator: np.random.Generator) -> tuple[Half, Half]:
    """Two random halves of all sets at once; facts of one cluster are in one half.

    Each cluster goes where it leaves the sets most nearly halved; what is left over is at
    most about one cluster.
    """
    number = 1 + max(int(codes.max()) for codes in clusters)
    shares = np.stack(
        [np.bincount(codes, minlength=number) / len(codes) for codes in clusters], axis=1
    )
    first, lead = np.zeros(number, dtype=bool), np.zeros(len(clusters))
    # In a random order: largest first would give nearly the same halves each time.
    for cluster in generator.permutation(number):
        excess = float(lead @ shares[cluster])
        here = bool(generator.integers(2)) if abs(excess) < 1e-12 else excess < 0
        first[cluster] = here
        lead += shares[cluster] * (1 if here else -1)
    return [first[c] for c in clusters], [~first[c] for c in clusters]


def student(clusters: Sequence[Codes], level: float = 0.95) -> float:
    """Quantile for intervals from `HALVINGS` halvings; NaN where a set has one cluster.

    Degrees of freedom: the halvings, or one less than the clusters of the set that has
    fewest, unequal ones counted as (Σn)² / Σn².
    """
    freedom = _freedom(clusters)
    return float(stats.t.ppf(0.5 + level / 2, freedom)) if freedom >= 0.5 else float("nan")


def _freedom(clusters: Sequence[Codes]) -> float:
    effective = min(
        len(codes) ** 2 / np.square(np.bincount(codes)).sum() for codes in clusters
    )
    return min(float(HALVINGS), effective - 1)


def variance_of_halves(values: Float64[np.ndarray, "halvings 2"]) -> float:
    """Variance of a number at half the facts, from its values in both halves.

    Where a value has noise of its own (one random split of the half), that noise is
    counted in.
    """
    return float(np.square(np.diff(values, axis=1)).mean() / 2)


Kept = Sequence[Int[np.ndarray, "_"]]
"""For each set, the indices of the facts that are kept, in order."""


@dataclass(frozen=True)
class Halved:
    """Numbers of whole sets, and how far halves of all of them lie apart."""

    value: Float64[np.ndarray, "*shape"]
    error: Float64[np.ndarray, "*shape"]
    """Standard error; NaN where halves are too few for a number."""
    low: Float64[np.ndarray, "*shape"]
    high: Float64[np.ndarray, "*shape"]
    p_value: Float64[np.ndarray, "*shape"]
    """Two-sided, of 0; NaN without an error."""


def halved(
    statistic: Callable[[Kept], Array], clusters: Sequence[Codes], *, seed: int = 0
) -> Halved:
    """value ± t · standard error (95 %), the error from `HALVINGS` disjoint halves.

    The variance at half the facts is halved for all of them, as for a mean. What a subspace
    adds falls faster than that, so that intervals of numbers that rest on one are too wide
    rather than too narrow.

    Args:
        statistic: from the facts kept of each set to numbers.
        clusters: for each set a code a fact, equal in two sets where facts move together.
        seed: of the halves.
    """
    generator = np.random.default_rng([seed, 1])
    value = np.asarray(statistic([np.arange(len(codes)) for codes in clusters]), float)
    halves = np.array(
        [
            [
                statistic([np.flatnonzero(mask) for mask in half])
                for half in halve(clusters, generator)
            ]
            for _ in range(HALVINGS)
        ]
    )
    error = np.sqrt(np.square(halves[:, 0] - halves[:, 1]).mean(0) / 4)
    width = student(clusters) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * stats.t.sf(np.abs(value) / error, max(_freedom(clusters), 0.5))
    unknown = np.isnan(width) | (error == 0)
    return Halved(
        value,
        error,
        value - width,
        value + width,
        np.where(unknown, np.nan, p_value),
    )
