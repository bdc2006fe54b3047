"""How much old facts moved, in parts: what a relation's facts share, and each fact's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from interfere.errors import InputError
from interfere.measures.common_shift import common_shift
from interfere.measures.jackknife import GROUPS, jackknife
from interfere.measures.rows import Array, Labels, as_codes
from interfere.measures.statistics import Interval, smallest_difference

PARTS = ("common", "residual", "whole")


@dataclass(frozen=True)
class Movement:
    """Mean squared displacement in units of the mean squared length before."""

    common: Interval
    """ΣΔ·c / Σ‖x‖², c the mean displacement of the relation's other facts."""
    residual: Interval
    """ΣΔ·(Δ - c) / Σ‖x‖²."""
    whole: Interval
    """Σ‖Δ‖² / Σ‖x‖²: both together."""


def movement(
    before: Float64[np.ndarray, "facts d"],
    after: Sequence[Float64[np.ndarray, "facts d"]],
    relations: Labels,
    answers: Labels,
    *,
    less: Sequence[Float64[np.ndarray, "facts d"]] = (),
    groups: int = GROUPS,
) -> Movement:
    """Parts of the movement, averaged over seeds; with `less`, the difference of two arms.

    `measures.displacement_split` gives the common part as a share; these are amounts, so
    that two arms can be held against each other. An estimate of the common part may fall
    below 0, see there. Intervals leave groups of answers out (`jackknife`), the shift with
    them. Blind to one rotation or scaling of all sides.

    Args:
        before: one row a fact.
        after: the same facts after training, under each seed.
        relations: one label a fact; the shift is common within it.
        answers: one label a fact.
        less: the other arm's, whose parts are subtracted.
        groups: of answers.

    Raises:
        InputError: no seed, arms of unlike seeds, or sides of other facts or dimensions.
    """
    for side in (*after, *less):
        if side.shape != before.shape:
            raise InputError(
                f"movement needs the same facts and dimensions, got {before.shape} and "
                f"{side.shape}"
            )
    if not after or (less and len(less) != len(after)):
        raise InputError(
            "movement needs the same seeds of both arms, one at least, got "
            f"{len(after)} and {len(less)}"
        )
    relation = as_codes(relations, len(before), "relations")

    def of(sides: Sequence[Array]) -> Statistic:
        return lambda kept: _parts(before, sides, relation, kept)

    return Movement(*part_intervals(of(after), answers, of(less) if less else None, groups))


Statistic = Callable[[Int[np.ndarray, " kept"]], Float64[np.ndarray, "seeds parts"]]
"""From the indices of kept facts to numbers by seed, in the order of PARTS."""


def part_intervals(
    one: Statistic, answers: Labels, less: Statistic | None = None, groups: int = GROUPS
) -> list[Interval]:
    """Each part's mean over seeds, answers left out by `jackknife`; an arm or two arms apart.

    Args:
        one: parts by seed of some of the facts.
        answers: one label a fact.
        less: the same of another arm, which is subtracted seed by seed.
        groups: of answers.
    """

    def by_seed(kept: Int[np.ndarray, " kept"]) -> Array:
        return one(kept) if less is None else one(kept) - less(kept)

    found = jackknife(lambda kept: by_seed(kept).mean(0), answers, groups=groups)
    seeds = by_seed(np.arange(len(np.asarray(answers))))
    return [
        Interval(
            value=float(found.value[place]),
            low=float(found.low[place]),
            high=float(found.high[place]),
            seeds_low=float(seeds[:, place].min()),
            seeds_high=float(seeds[:, place].max()),
            smallest=smallest_difference(float(found.error[place])),
        )
        for place in range(len(PARTS))
    ]


def split_sums(
    displacement: Float64[np.ndarray, "facts d"], relations: Int[np.ndarray, " facts"]
) -> Float64[np.ndarray, " parts"]:
    """ΣΔ·c, ΣΔ·(Δ - c) and ΣΔ², in the order of PARTS; c as in `common_shift`."""
    shift = common_shift(displacement, as_codes(relations, len(displacement)))
    whole = np.square(displacement).sum()
    # A relation's only fact shares nothing with others.
    common = np.nansum(displacement * shift)
    return np.array([common, whole - common, whole])


def _parts(
    before: Float64[np.ndarray, "facts d"],
    after: Sequence[Float64[np.ndarray, "facts d"]],
    relation: Int[np.ndarray, " facts"],
    kept: Int[np.ndarray, " kept"],
) -> Float64[np.ndarray, "seeds parts"]:
    x = before[kept]
    sums = [split_sums(side[kept] - x, relation[kept]) for side in after]
    return np.stack(sums) / np.square(x).sum()
