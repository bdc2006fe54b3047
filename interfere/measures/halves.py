"""Disjoint halves of sets of facts: the error of what can't be bootstrapped.

A bootstrap draws facts twice, and the subspace of repeated rows is not that of as many
different ones. Two halves that share no fact give two independent values, each from half
the rows; half their squared difference is the variance at that size.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy import stats

from interfere.measures.rows import Labels, as_codes

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
    effective = min(
        len(codes) ** 2 / np.square(np.bincount(codes)).sum() for codes in clusters
    )
    freedom = min(float(HALVINGS), effective - 1)
    return float(stats.t.ppf(0.5 + level / 2, freedom)) if freedom >= 0.5 else float("nan")


def variance_of_halves(values: Float64[np.ndarray, "halvings 2"]) -> float:
    """Variance of a number at half the facts, from its values in both halves.

    Where a value has noise of its own (one random split of the half), that noise is
    counted in.
    """
    return float(np.square(np.diff(values, axis=1)).mean() / 2)
