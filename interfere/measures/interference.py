"""Representational interference: do old facts move where new facts live?"""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from interfere.activations.pairs import pair
from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.measures.rows import Labels, as_rows
from interfere.measures.statistics import percentiles, ratio, resampled_sums
from interfere.measures.subspaces import principal_subspace


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
    clusters: Labels,
    noise: Float64[np.ndarray, "n3 d3"] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[tuple[float, float, float], tuple[float, float, float], float]:
    """`interference` on plain arrays: (size, low, high), (direction, low, high), moved.

    Row i of before, after, control and noise is the same held-out fact; Δ = after -
    control. New and other facts are cut to equal numbers: a subspace of more rows is
    estimated better and would attract more.

    Raises:
        InputError: before, after and control of unlike shapes, or a rank that the new or
            other facts can't have.
    """
    if not before.shape == after.shape == control.shape:
        raise InputError(
            "interference needs the same facts and dimensions thrice, got "
            f"{before.shape}, {after.shape} and {control.shape}"
        )
    count = min(len(new), len(others))
    p_new = principal_subspace(new[:count], rank)
    p_old = principal_subspace(others[:count], rank)
    delta = after - control
    columns = np.stack(
        [
            np.square(delta @ p_new).sum(1),
            np.square(delta @ p_old).sum(1),
            np.square(before - before.mean(0)).sum(1),
        ],
        axis=1,
    )
    sums = resampled_sums(columns, clusters, resamples=resamples, seed=seed)
    total = columns.sum(0)
    size = ((total[0] - total[1]) / total[2], *percentiles(_size(sums), clusters))
    direction = (float(ratio(total[:2])), *percentiles(ratio(sums[:, :2]), clusters))
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
    return size, direction, movement / float(total[2])


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
    resamples: int = 2000,
    seed: int = 0,
) -> Interference:
    """Size and direction of the held-out facts' movement, at one hook and position.

    For each held-out fact Δ = z_arm - z_control, its displacement beyond the control's.
    P_new projects on the top-`rank` principal subspace of the new facts at the format
    checkpoint, P_old on that of as many other Known facts. Intervals (95 %) resample
    answers: the subspaces count as given.

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
        resamples: of the bootstrap.
        seed: of the bootstrap.

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
        clusters=old_before.table["answer"],
        noise=z.get("control again"),
        resamples=resamples,
        seed=seed,
    )
    return Interference(*size, *direction, moved, rank, hook, position, len(old_before))


def _size(sums: Float64[np.ndarray, "resamples 3"]) -> Float64[np.ndarray, " resamples"]:
    found: Float64[np.ndarray, " resamples"] = (sums[:, 0] - sums[:, 1]) / sums[:, 2]
    return found
