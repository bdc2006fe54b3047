"""Similarities of old, new and control facts' subspaces, in random splits and in halves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from interfere.measures.halves import HALVINGS, Codes, halve, variance_of_halves
from interfere.measures.subspaces import alike, basis

Similarities = Float64[np.ndarray, "splits 3"]
"""old-new, old-control, old-old'."""


def split_similarities(
    old: Float64[np.ndarray, "n1 d"],
    new: Float64[np.ndarray, "n2 d"],
    control: Float64[np.ndarray, "n3 d"],
    m: int,
    rank: int,
    splits: int,
    generator: np.random.Generator,
) -> Similarities:
    """As many random splits: the old facts in halves, all sets cut to m rows."""
    found = np.empty((splits, 3))
    for split in range(splits):
        order = generator.permutation(len(old))
        y, z = (
            rows[generator.choice(len(rows), m, replace=False)] for rows in (new, control)
        )
        found[split] = _alike(old[order[:m]], old[order[m : 2 * m]], y, z, rank)
    return found


def _alike(
    old: Float64[np.ndarray, "m d"],
    other_old: Float64[np.ndarray, "m d"],
    new: Float64[np.ndarray, "m d"],
    control: Float64[np.ndarray, "m d"],
    rank: int,
) -> tuple[float, float, float]:
    u, v, to_new, to_control = (basis(x, rank) for x in (old, other_old, new, control))
    return (
        (alike(u, to_new) + alike(v, to_new)) / 2,
        (alike(u, to_control) + alike(v, to_control)) / 2,
        alike(u, v),
    )


def two_splits(
    old: Float64[np.ndarray, "n1 d"],
    new: Float64[np.ndarray, "n2 d"],
    control: Float64[np.ndarray, "n3 d"],
    m: int,
    rank: int,
    generator: np.random.Generator,
) -> Float64[np.ndarray, "3"]:
    """Similarities old-new, old-control, old-old', as means of two random splits.

    The second takes the rows that the first left, so that which rows a split draws adds
    little noise: near the mean of many splits, for the cost of two.
    """
    x, y, z = (generator.permutation(rows) for rows in (old, new, control))
    last = x[::-1][: 2 * m]
    first = _alike(x[:m], x[m : 2 * m], y[:m], z[:m], rank)
    second = _alike(last[::2], last[1::2], y[::-1][:m], z[::-1][:m], rank)
    return np.mean([first, second], axis=0)


@dataclass(frozen=True)
class Halves:
    """What disjoint halves of all sets give."""

    similarities: Float64[np.ndarray, "halvings 2 3"]
    rows: int
    """Rows of each set that they were made from."""


def half_similarities(
    sets: tuple[Float64[np.ndarray, "_ d"], ...],
    clusters: list[Codes],
    rank: int,
    generator: np.random.Generator,
) -> Halves | None:
    """What disjoint halves of all sets give; None where they have too few rows."""
    halvings = [halve(clusters, generator) for _ in range(HALVINGS)]
    m = min(
        min(int(old.sum()) // 2, int(new.sum()), int(control.sum()))
        for halving in halvings
        for old, new, control in halving
    )
    if m <= rank:
        return None
    found = np.empty((HALVINGS, 2, 3))
    for i, halving in enumerate(halvings):
        for side, half in enumerate(halving):
            x, y, z = (rows[mask] for rows, mask in zip(sets, half, strict=True))
            found[i, side] = two_splits(x, y, z, m, rank, generator)
    return Halves(found, m)


def standard_error(
    s: Similarities,
    halves: Halves | None,
    m: int,
    number: Callable[[np.ndarray], np.ndarray],
) -> float:
    """Standard error of a mean over splits: of the choice of facts and of the splits."""
    if halves is None:
        return float("nan")
    between = variance_of_halves(number(halves.similarities)) * halves.rows / m
    return float(np.sqrt(between + number(s).var(ddof=1) / len(s)))
