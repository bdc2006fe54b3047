"""How much old facts moved, in parts: what a relation's facts share, and each fact's own."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from interfere.errors import InputError
from interfere.measures.common_shift import common_shift
from interfere.measures.halves import Halved
from interfere.measures.jackknife import GROUPS, Jackknife, jackknife
from interfere.measures.rows import Array, Labels, as_codes, as_rows
from interfere.measures.statistics import Interval, smallest_difference

PARTS = ("common", "residual", "whole")


@dataclass(frozen=True)
class Movement:
    """Mean squared displacement Δ in units of the mean squared length before."""

    common: Interval
    """ΣΔ·c / Σ‖x‖², c the mean displacement of the relation's other facts."""
    residual: Interval
    """ΣΔ·(Δ - c) / Σ‖x‖²: each fact's own, and what facts of an answer share."""
    whole: Interval
    """Σ‖Δ‖² / Σ‖x‖²: both together."""


def movement(
    before: Float64[np.ndarray, "facts d"],
    after: Sequence[Float64[np.ndarray, "facts d"]],
    relations: Labels,
    answers: Labels,
    *,
    less: Sequence[Float64[np.ndarray, "facts d"]] = (),
    control: Sequence[Float64[np.ndarray, "facts d"]] = (),
    groups: int = GROUPS,
) -> Movement:
    """Parts of the movement, averaged over seeds; with `less`, the difference of two arms.

    Δ = after - before; with `control`, Δ = after - control: the movement beyond the
    control's, as in `measures.interference`.

    `measures.displacement_split` gives the common part as a share; these are amounts, so
    that two arms can be held against each other. An estimate of the common part may fall
    below 0, see there, and what only the facts of one answer share is residual (give answers
    as `relations` to part it). A relation's only fact shares nothing with others: its movement is
    residual. Intervals leave groups of answers out (`jackknife`), the shift with them. In
    simulations (1,000 each of 20, 40 and 100 answers of like size that share half of the
    residual) they cover at .94 to .96. Blind to one rotation or scaling of all sides.

    Args:
        before: one row a fact.
        after: the same facts after training, under each seed.
        relations: one label a fact; the shift is common within it.
        answers: one label a fact.
        less: the other arm's, whose parts are subtracted.
        control: the same facts at the Known-only control's end, under each seed.
        groups: of answers.

    Raises:
        InputError: no seed, arms of unlike seeds, sides of other facts or dimensions, or a
            value that isn't finite.
    """
    for side in (*after, *less, *control):
        if side.shape != before.shape:
            raise InputError(
                f"movement needs the same facts and dimensions, got {before.shape} and "
                f"{side.shape}"
            )
    for seeds in (less, control):
        if not after or (seeds and len(seeds) != len(after)):
            raise InputError(
                "movement needs the same seeds of both arms, one at least, got "
                f"{len(after)} and {len(seeds)}"
            )
    for name, sides in {"before": [before], "after": after, "control": control}.items():
        for side in sides:
            as_rows(side, name)
    for side in less:
        as_rows(side, "less")
    if not before.any():
        warnings.warn("movement is NaN: all activations before are 0", stacklevel=2)
    origins = control or [before] * len(after)
    relation = as_codes(relations, len(before), "relations")

    def of(sides: Sequence[Array]) -> Statistic:
        moved = [side - origin for side, origin in zip(sides, origins, strict=True)]
        return lambda kept: _parts(before, moved, relation, kept)

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
    return intervals_of(found, by_seed(np.arange(len(np.asarray(answers)))))


def intervals_of(
    found: Jackknife | Halved, seeds: Float64[np.ndarray, "seeds parts"]
) -> list[Interval]:
    """Of each part, beside what single seeds give."""
    return [
        Interval(
            value=float(found.value[place]),
            low=float(found.low[place]),
            high=float(found.high[place]),
            seeds_low=float(seeds[:, place].min()),
            seeds_high=float(seeds[:, place].max()),
            smallest=smallest_difference(float(found.error[place])),
            p_value=float(found.p_value[place]),
        )
        for place in range(len(PARTS))
    ]


def split_sums(
    displacement: Float64[np.ndarray, "facts d"], relations: Int[np.ndarray, " facts"]
) -> Float64[np.ndarray, " parts"]:
    """ΣΔ·c, ΣΔ·(Δ - c) and ΣΔ², in the order of PARTS; c as in `common_shift`."""
    codes = as_codes(relations, len(displacement))
    alone = (np.bincount(codes) == 1)[codes]
    shift = np.where(alone[:, None], 0, common_shift(displacement, codes))
    whole = np.square(displacement).sum()
    common = (displacement * shift).sum()
    return np.array([common, whole - common, whole])


def _parts(
    before: Float64[np.ndarray, "facts d"],
    moved: Sequence[Float64[np.ndarray, "facts d"]],
    relation: Int[np.ndarray, " facts"],
    kept: Int[np.ndarray, " kept"],
) -> Float64[np.ndarray, "seeds parts"]:
    sums = [split_sums(delta[kept], relation[kept]) for delta in moved]
    return np.stack(sums) / (np.square(before[kept]).sum() or np.nan)
