"""Interference in parts: what a relation's facts share of it, and each fact's own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from interfere.errors import InputError
from interfere.measures.jackknife import GROUPS
from interfere.measures.movement import part_intervals, split_sums
from interfere.measures.rows import Array, Labels, as_codes, as_rows
from interfere.measures.statistics import Interval
from interfere.measures.subspaces import principal_subspace


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
    """One arm's held-out facts beyond the control's, in new and in old facts' directions."""

    new: list[Float64[np.ndarray, "facts rank"]]
    """ΔP_new, under each seed."""
    old: list[Float64[np.ndarray, "facts rank"]]
    """ΔP_old."""

    def __len__(self) -> int:
        return len(self.new)


def drawn(
    after: Sequence[Float64[np.ndarray, "facts d"]],
    control: Sequence[Float64[np.ndarray, "facts d"]],
    new: Sequence[Float64[np.ndarray, "new d"]],
    others: Float64[np.ndarray, "others d"],
    *,
    rank: int,
) -> Drawn:
    """Project Δ = after - control on both subspaces, seed by seed.

    New and other facts are cut to equal numbers, as in `measures.interference`.

    Args:
        after: held-out facts at the arm's end.
        control: the same at the Known-only control's end.
        new: the arm's new facts at the format checkpoint.
        others: other Known facts there; not the measured ones.
        rank: of both subspaces.

    Raises:
        InputError: not the same seeds or facts thrice, a rank that facts can't have, or a
            value that isn't finite.
    """
    if not len(after) == len(control) == len(new):
        raise InputError(
            f"interference needs the same seeds thrice, got {len(after)} of the arm, "
            f"{len(control)} of the control and {len(new)} of the new facts"
        )
    found = Drawn([], [])
    for arm, beside, learnt in zip(after, control, new, strict=True):
        if arm.shape != beside.shape:
            raise InputError(
                "interference needs the same facts and dimensions, got "
                f"{arm.shape} and {beside.shape}"
            )
        as_rows(arm, "after")
        as_rows(beside, "control")
        count = min(len(learnt), len(others))
        delta = arm - beside
        found.new.append(delta @ principal_subspace(learnt[:count], rank))
        found.old.append(delta @ principal_subspace(others[:count], rank))
    return found


def interference_parts(
    before: Float64[np.ndarray, "facts d"],
    arm: Drawn,
    relations: Labels,
    answers: Labels,
    *,
    less: Drawn | None = None,
    groups: int = GROUPS,
) -> InterferenceParts:
    """Parts of the size, averaged over seeds; with `less`, the difference of two arms.

    Intervals leave groups of answers out (`jackknife`), the shift with them, and cover at
    .94 to .96 in the simulations of `movement`; the subspaces count as given, as in
    `measures.interference`. A part may be below 0: the control's
    directions then moved more. NaN where new or other facts vary in fewer directions than
    `rank`. Blind to one rotation or scaling of all sides.

    Args:
        before: held-out facts at the format checkpoint, one row a fact.
        arm: what the arm did to them (`drawn`).
        relations: one label a fact; the shift is common within it.
        answers: one label a fact.
        less: the other arm's, whose parts are subtracted.
        groups: of answers.

    Raises:
        InputError: no seed, arms of unlike seeds, or sides of other facts.
    """
    sides = [arm] if less is None else [arm, less]
    if len({len(side) for side in sides}) > 1 or not len(arm):
        raise InputError(
            "interference needs the same seeds of both arms, one at least, got "
            + " and ".join(str(len(side)) for side in sides)
        )
    for rows in (rows for side in sides for rows in (*side.new, *side.old)):
        if len(rows) != len(before):
            raise InputError(
                f"interference needs the same facts, got {len(before)} and {len(rows)}"
            )
    codes = as_codes(relations, len(before), "relations")

    def parts(side: Drawn, kept: Int[np.ndarray, " kept"]) -> Array:
        spread = np.square(before[kept] - before[kept].mean(0)).sum()
        sums = [
            split_sums(new[kept], codes[kept]) - split_sums(old[kept], codes[kept])
            for new, old in zip(side.new, side.old, strict=True)
        ]
        return np.stack(sums) / spread

    return InterferenceParts(
        *part_intervals(
            lambda kept: parts(arm, kept),
            answers,
            None if less is None else lambda kept: parts(less, kept),
            groups,
        )
    )
