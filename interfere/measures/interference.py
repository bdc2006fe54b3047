"""Representational interference: do old facts move where new facts live?"""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from threadpoolctl import threadpool_limits

from interfere.activations.pairs import pair
from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.measures.halves import Kept, halved, set_codes
from interfere.measures.rows import ROUNDING, Array, Labels, as_rows
from interfere.measures.subspaces import basis, principal_subspace


@dataclass(frozen=True)
class Interference:
    """How the displacement of held-out facts, beyond the control's, lies to new and old."""

    size: float
    """(Σ‖P_new Δ‖² - Σ‖P_old Δ‖²) / Σ‖z₀ - z̄₀‖²; 0: new facts' directions move no more."""
    size_low: float
    size_high: float
    direction: float
    """Σ‖P_new Δ‖² / Σ‖P_old Δ‖²; 1: no more than old facts' directions; NaN: no movement
    beyond that between two seeds of the control."""
    direction_low: float
    direction_high: float
    moved: float
    """ΣΔ² / Σ‖z₀ - z̄₀‖²: how much there was to attract."""
    rank: int
    hook: str
    position: str
    facts: int


def displacement_interference(
    before: Float64[np.ndarray, "n1 d1"],
    after: Float64[np.ndarray, "n2 d2"],
    control: Float64[np.ndarray, "n3 d3"],
    new: Float64[np.ndarray, "new d"],
    others: Float64[np.ndarray, "others d"],
    *,
    rank: int,
    answers: tuple[Labels, Labels, Labels],
    noise: Float64[np.ndarray, "n3 d3"] | None = None,
    seed: int = 0,
) -> tuple[tuple[float, float, float], tuple[float, float, float], float]:
    """`interference` on plain arrays: (size, low, high), (direction, low, high), moved.

    Row i of before, after, control and noise is the same held-out fact; Δ = after -
    control. `answers` are those of held-out, new and other facts. New and other facts are
    cut to equal numbers: a subspace of more rows is estimated better and would attract more.

    Raises:
        InputError: before, after and control of unlike shapes, fewer than four facts, a rank
            that the new or other facts can't have, or a value that isn't finite.
    """
    if not before.shape == after.shape == control.shape:
        raise InputError(
            "interference needs the same facts and dimensions thrice, got "
            f"{before.shape}, {after.shape} and {control.shape}"
        )
    sides = {"before": before, "after": after, "control": control}
    for name, side in sides.items():
        as_rows(side, name, least=4)
    check_subspaces(new, others, rank)
    delta = after - control

    def numbers(kept: Kept) -> Array:
        p_new, p_old = two_subspaces(new, others, kept, rank)
        onto = [np.square(delta[kept[0]] @ p).sum() for p in (p_new, p_old)]
        spread = spread_of(before[kept[0]])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array([(onto[0] - onto[1]) / spread, np.log(onto[0] / onto[1])])

    sizes = (len(before), len(new), len(others))
    with threadpool_limits(1):  # matrices so small are ten times slower on two threads
        found = halved(numbers, set_codes(answers, sizes, "interference"), seed=seed)
    ends = np.stack([found.value, found.low, found.high], axis=1)
    size, direction = tuple(ends[0].tolist()), tuple(np.exp(ends[1]).tolist())
    movement = float(np.square(delta).sum())
    least = 0.0 if noise is None else float(np.square(noise - control).sum())
    if movement <= least:
        moved = "moved no further from the control than another seed of the control did"
        warnings.warn(
            "interference direction is NaN: the arm "
            f"{'is where the control is' if noise is None else moved}",
            stacklevel=2,
        )
        direction = (float("nan"),) * 3
    return size, direction, movement / spread_of(before)


def check_subspaces(
    new: Float64[np.ndarray, "new d"], others: Float64[np.ndarray, "others d"], rank: int
) -> None:
    """Refuse sets that have no subspace of the rank; warn where halves will have none.

    Raises:
        InputError: a rank that so many facts can't have, or a value that isn't finite.
    """
    rows = min(len(new), len(others))
    for name, side in {"new": new, "others": others}.items():
        principal_subspace(as_rows(side, name)[:rows], rank)
    if rows // 2 <= rank:
        warnings.warn(
            f"intervals of interference are NaN: half of {rows} facts have no subspace of "
            f"rank {rank}; use more facts or a smaller rank",
            stacklevel=3,
        )


def two_subspaces(
    new: Float64[np.ndarray, "new d"],
    others: Float64[np.ndarray, "others d"],
    kept: Kept,
    rank: int,
) -> tuple[Float64[np.ndarray, "d rank"], Float64[np.ndarray, "d rank"]]:
    """Of the new and other facts kept (second and third set), as many of each.

    NaN where they are too few or vary in fewer directions.
    """
    count = min(len(kept[1]), len(kept[2]))
    if count <= rank:
        nan = np.full((new.shape[1], rank), np.nan)
        return nan, nan
    return basis(new[kept[1][:count]], rank), basis(others[kept[2][:count]], rank)


def spread_of(before: Float64[np.ndarray, "facts d"]) -> float:
    """Σ‖z - z̄‖²; NaN, with a warning, where all rows are equal."""
    spread = float(np.square(before - before.mean(0)).sum())
    if spread <= ROUNDING * float(np.square(before).sum()):
        warnings.warn(
            "interference is NaN: the held-out facts have equal activations", stacklevel=3
        )
        return float("nan")
    return spread


def interference(
    *,
    old_before: Recording,
    old_after: Recording,
    old_control: Recording,
    new: Recording,
    others: Recording,
    hook: str,
    position: str,
    rank: int = 16,
    control_again: Recording | None = None,
    seed: int = 0,
) -> Interference:
    """Size and direction of the held-out facts' movement, at one hook and position.

    For each held-out fact Δ = z_arm - z_control, its displacement beyond the control's.
    P_new projects on the top-`rank` principal subspace of the new facts at the format
    checkpoint, P_old on that of as many other Known facts. Intervals (95 %) are from disjoint
    halves by answer of held-out, new and other facts at once (`halves`): which facts the
    subspaces are made from is part of the chance. In simulations in which new and other
    facts were of one population (40 and 120 answers, 250 to 600 facts, five spectra) they
    cover at .93 to 1.0, too wide rather than too narrow, where taking the subspaces as given
    covered at .5 and less.

    Args:
        old_before: held-out facts at the format checkpoint.
        old_after: the same at the arm's end.
        old_control: the same at the Known-only control's end.
        new: the arm's new facts at the format checkpoint.
        others: other Known facts there; not the measured ones.
        hook: declared before the run.
        position: likewise.
        rank: of both subspaces; below the number of new and of other facts.
        control_again: the control's end under another seed: where the arm moved no further
            from the control than this did, the direction is NaN.
        seed: of the halves.

    Raises:
        InputError: recordings of other questions, new or other facts recorded with other
            weights than `old_before`, measured facts among `others`, a rank that the facts
            can't have, or a NaN or infinite activation.

    Source: interfere's own definition, after the paper's claim (arXiv 2604.15574) that
    new and old facts interfere where their representations overlap.
    """
    held_out = {"before": old_before, "after": old_after, "control": old_control}
    if control_again is not None:
        held_out["control again"] = control_again
    for recording in held_out.values():
        pair(old_before, recording)
    start = old_before.attributes["weights"]
    for side, recording in {"new": new, "others": others}.items():
        if recording.attributes["weights"] != start:
            raise InputError(
                f"{recording.path}: {side} was recorded with the weights "
                f"{recording.attributes['weights']}, but {old_before.path} with {start}; "
                "record both at the format checkpoint"
            )
    if shared := set(others.table["id"]) & set(old_before.table["id"]):
        raise InputError(
            f"{others.path} holds the measured fact {sorted(shared)[0]}; P_old needs others"
        )
    name = f"{hook}/{position}"
    z = {
        key: as_rows(r[hook, position].numpy(), f"{key}, {name}")
        for key, r in held_out.items()
    }
    size, direction, moved = displacement_interference(
        z["before"],
        z["after"],
        z["control"],
        as_rows(new[hook, position].numpy(), f"new, {name}"),
        as_rows(others[hook, position].numpy(), f"others, {name}"),
        rank=rank,
        answers=(old_before.table["answer"], new.table["answer"], others.table["answer"]),
        noise=z.get("control again"),
        seed=seed,
    )
    return Interference(*size, *direction, moved, rank, hook, position, len(old_before))
