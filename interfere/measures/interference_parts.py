"""Interference in parts: what a relation's facts share of it, and each fact's own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from threadpoolctl import threadpool_limits

from interfere.errors import InputError
from interfere.measures.halves import Kept, halved, set_codes
from interfere.measures.interference import check_subspaces, spread_of, two_subspaces
from interfere.measures.movement import intervals_of, split_sums
from interfere.measures.rows import Labels, as_codes, as_rows
from interfere.measures.statistics import Interval


@dataclass(frozen=True)
class InterferenceParts:
    """Size of interference (`measures.interference`), seeds averaged, and what it is made of."""

    common: Interval
    """(Σ P_newΔ·P_newc - Σ P_oldΔ·P_oldc) / Σ‖z₀ - z̄₀‖², c the mean displacement beyond
    the control's of the relation's other facts: all of them drawn to the new facts alike."""
    residual: Interval
    """The same with Δ - c for c: each fact drawn in its own way."""
    whole: Interval
    """Both together: the size."""


@dataclass(frozen=True)
class Drawn:
    """One arm's held-out facts beyond the control's, and what may draw them."""

    delta: list[Float64[np.ndarray, "facts d"]]
    """Δ, under each seed."""
    new: list[Float64[np.ndarray, "new d"]]
    """The new facts, under each seed; row i has the same answer under all of them."""
    others: Float64[np.ndarray, "others d"]
    answers: tuple[Labels, Labels]
    """Of the new and of the other facts."""
    rank: int

    def __len__(self) -> int:
        return len(self.delta)


def drawn(
    after: Sequence[Float64[np.ndarray, "facts d"]],
    control: Sequence[Float64[np.ndarray, "facts d"]],
    new: Sequence[Float64[np.ndarray, "new d"]],
    others: Float64[np.ndarray, "others d"],
    *,
    answers: tuple[Labels, Labels],
    rank: int,
) -> Drawn:
    """Δ = after - control, seed by seed, beside the facts of both subspaces.

    Args:
        after: held-out facts at the arm's end.
        control: the same at the Known-only control's end.
        new: the arm's new facts at the format checkpoint.
        others: other Known facts there; not the measured ones.
        answers: of the new and of the other facts.
        rank: of both subspaces.

    Raises:
        InputError: not the same seeds or facts thrice, new facts of unlike numbers, a rank
            that facts can't have, or a value that isn't finite.
    """
    if not len(after) == len(control) == len(new):
        raise InputError(
            f"interference needs the same seeds thrice, got {len(after)} of the arm, "
            f"{len(control)} of the control and {len(new)} of the new facts"
        )
    if len({len(learnt) for learnt in new}) > 1:
        raise InputError("interference needs the same new facts under every seed")
    for arm, beside, learnt in zip(after, control, new, strict=True):
        if arm.shape != beside.shape:
            raise InputError(
                "interference needs the same facts and dimensions, got "
                f"{arm.shape} and {beside.shape}"
            )
        as_rows(arm, "after")
        as_rows(beside, "control")
        check_subspaces(learnt, others, rank)
    delta = [arm - beside for arm, beside in zip(after, control, strict=True)]
    return Drawn(delta, list(new), others, answers, rank)


def interference_parts(
    before: Float64[np.ndarray, "facts d"],
    arm: Drawn,
    relations: Labels,
    answers: Labels,
    *,
    less: Drawn | None = None,
) -> InterferenceParts:
    """Parts of the size, averaged over seeds; with `less`, the difference of two arms.

    New and other facts are cut to equal numbers, and intervals are from disjoint halves by
    answer of all sets at once, as in `measures.interference`. A part may be below 0: the
    control's directions then moved more. NaN where new or other facts vary in fewer
    directions than the rank. Blind to one rotation or scaling of all sides.

    Args:
        before: held-out facts at the format checkpoint, one row a fact.
        arm: what the arm did to them (`drawn`).
        relations: one label a fact; the shift is common within it.
        answers: one label a fact.
        less: the other arm's, whose parts are subtracted.

    Raises:
        InputError: no seed, arms of unlike seeds, sides of other facts.
    """
    sides = [arm] if less is None else [arm, less]
    if len({len(side) for side in sides}) > 1 or not len(arm):
        raise InputError(
            "interference needs the same seeds of both arms, one at least, got "
            + " and ".join(str(len(side)) for side in sides)
        )
    for rows in (rows for side in sides for rows in side.delta):
        if len(rows) != len(before):
            raise InputError(
                f"interference needs the same facts, got {len(before)} and {len(rows)}"
            )
    if len({len(side.new[0]) for side in sides}) > 1:
        raise InputError("interference needs as many new facts of both arms")
    codes = as_codes(relations, len(before), "relations")

    def by_seed(kept: Kept) -> Float64[np.ndarray, "seeds parts"]:
        one = _parts(before, arm, codes, kept)
        return one if less is None else one - _parts(before, less, codes, kept)

    sizes = (len(before), len(arm.new[0]), len(arm.others))
    clusters = set_codes((answers, *arm.answers), sizes, "interference")
    with threadpool_limits(1):  # matrices so small are ten times slower on two threads
        found = halved(lambda kept: by_seed(kept).mean(0), clusters)
        seeds = by_seed([np.arange(size) for size in sizes])
    return InterferenceParts(*intervals_of(found, seeds))


def _parts(
    before: Float64[np.ndarray, "facts d"],
    side: Drawn,
    relations: Int[np.ndarray, " facts"],
    kept: Kept,
) -> Float64[np.ndarray, "seeds parts"]:
    facts, sums = kept[0], []
    for delta, new in zip(side.delta, side.new, strict=True):
        to_new, to_old = (
            split_sums(delta[facts] @ p, relations[facts])
            for p in two_subspaces(new, side.others, kept, side.rank)
        )
        sums.append(to_new - to_old)
    return np.stack(sums) / spread_of(before[facts])
