"""Principal angles between the subspaces of old facts and of new ones."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from threadpoolctl import threadpool_limits
from torch import Tensor

from interfere.measures.halves import (
    HALVINGS,
    Codes,
    halve,
    set_codes,
    student,
    variance_of_halves,
)
from interfere.measures.metrics import place
from interfere.measures.permuted import (
    NOTHING,
    Permuted,
    against_permuted,
    can_be_dealt,
    dealt_anew,
)
from interfere.measures.rows import Labels
from interfere.measures.statistics import Interval, smallest_difference
from interfere.measures.subspaces import basis, check_rank

Rows = Float64[np.ndarray, "_ d"]


@dataclass(frozen=True)
class PrincipalAngles:
    """Angles in radians, each in [0, π/2], the smallest first."""

    angles: Float64[np.ndarray, " rank"]
    """Between the subspaces of as many old as new facts; NaN: fewer directions than rank."""
    permuted_angles: Float64[np.ndarray, " rank"]
    """Their means when the labels old and new are dealt anew: what noise alone opens."""
    mean: Interval
    """Mean of the angles; `null` is that of labels dealt anew."""
    permuted: Permuted
    """The mean angle's under labels dealt anew; NaN, with a warning, where answers are too
    few."""
    rows: int
    """Facts of each set that were used."""


def angles_between(
    u: Float64[np.ndarray, "d k1"], v: Float64[np.ndarray, "d k2"]
) -> Float64[np.ndarray, " k"]:
    """Principal angles of two orthonormal bases, smallest first, in radians.

    Small ones from their sines, since a cosine near 1 keeps few digits. Source: Knyazev &
    Argentati (2002), doi 10.1137/S1064827500377332, algorithm 3.1.
    """
    if u.shape[1] < v.shape[1]:
        u, v = v, u
    cosines = np.linalg.svd(u.T @ v, compute_uv=False)
    sines = np.linalg.svd(v - u @ (u.T @ v), compute_uv=False)[::-1]
    cosines, sines = np.clip(cosines, 0, 1), np.clip(sines, 0, 1)
    return np.where(cosines**2 > 0.5, np.arcsin(sines), np.arccos(cosines))


def principal_angles(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    *,
    rank: int = 16,
    answers: tuple[Labels, Labels] | None = None,
    permutations: int = 99,
    seed: int = 0,
    name: str = "principal angles",
) -> PrincipalAngles:
    """Angles between the top-`rank` principal subspaces, each set centred by its own mean.

    m = min(old, new) facts of each set are used (of the larger one drawn once, without
    replacement): subspaces of unlike numbers of rows are unlike noisy. Even two samples of
    one population stand at an angle, so read the angles beside the permuted ones, whose
    labels are dealt as `permuted.dealt_anew` does (without answers fact by fact, which is
    too sure where facts of one answer are alike). Blind to one rotation and scaling of both
    sets, and to a shift of either. The interval of the mean is value ± t · standard error
    from disjoint halves of both sets (`measures.halves`).

    Args:
        old: one row a fact, all at one hook and position of one model.
        new: other facts.
        rank: directions kept; below half of m for an interval.
        answers: a label a fact for old and for new; facts of one stay in one half, and
            are dealt together.
        permutations: of the labels old and new.
        seed: of permutations and halves.
        name: says in errors and warnings what they are about.

    Raises:
        InputError: rank out of range, labels that don't match, or as in `metrics.place`.
    """
    x, y = place(old, new, "euclidean", name=name, least=4)
    m = min(len(x), len(y))
    check_rank(rank, m, x.shape[1] - 1)  # at rank d every subspace is the whole space
    clusters = set_codes(answers, (len(x), len(y)), name)
    generator = np.random.default_rng(seed)
    both = np.concatenate([x, y])
    with threadpool_limits(1):
        found = _of(x, y, m, rank, generator)
        shuffled = np.full((permutations, rank), np.nan)
        is_new, codes = np.arange(len(both)) >= len(x), np.concatenate(clusters)
        dealt = can_be_dealt(is_new, codes, name)
        for draw in range(permutations if dealt else 0):
            new_now = dealt_anew(is_new, codes, generator)
            shuffled[draw] = _of(both[~new_now], both[new_now], m, rank, generator)
        error = _error(x, y, clusters, rank, m, generator)
    if np.isnan(found).any():
        warnings.warn(
            f"{name}: angles are NaN: a set varies in fewer directions than the rank",
            stacklevel=2,
        )
    elif np.isnan(student(clusters) * error):
        warnings.warn(
            f"{name}: the angles' interval is NaN: half of the facts are too few, or have "
            "too few answers, for this rank; use more facts or a smaller rank",
            stacklevel=2,
        )
    value, spread = float(found.mean()), student(clusters) * error
    permuted = against_permuted(value, shuffled.mean(1)) if dealt else NOTHING
    return PrincipalAngles(
        angles=found,
        permuted_angles=shuffled.mean(0),
        mean=Interval(
            value,
            value - spread,
            value + spread,
            value,
            value,
            smallest_difference(error),
            permuted.mean,
        ),
        permuted=permuted,
        rows=m,
    )


def _of(
    x: Rows, y: Rows, m: int, rank: int, generator: np.random.Generator
) -> Float64[np.ndarray, " rank"]:
    u, v = (
        basis(rows[generator.choice(len(rows), m, replace=False)], rank) for rows in (x, y)
    )
    if np.isnan(u).any() or np.isnan(v).any():
        return np.full(rank, np.nan)
    return angles_between(u, v)


def _error(
    x: Rows,
    y: Rows,
    clusters: list[Codes],
    rank: int,
    m: int,
    generator: np.random.Generator,
) -> float:
    """Standard error of the mean angle, from halves that share no fact."""
    halvings = [halve(clusters, generator) for _ in range(HALVINGS)]
    rows = min(int(mask.sum()) for halving in halvings for half in halving for mask in half)
    if rows <= rank:
        return float("nan")
    values = [
        [_of(x[a], y[b], rows, rank, generator).mean() for a, b in halving]
        for halving in halvings
    ]
    return float(np.sqrt(variance_of_halves(np.array(values)) * rows / m))
