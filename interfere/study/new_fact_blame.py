"""How much each new fact is blamed before training, by one predictor or another."""

from collections.abc import Callable

import numpy as np

from interfere.measures.fact_overlap import fact_overlap, new_distance
from interfere.study.kept_gradients import kept_harm
from interfere.study.predictors import NEIGHBOURS
from interfere.study.preparation import Prepared
from interfere.study.results import new_recording

Blame = dict[str, float]
"""New fact's id → how much it is blamed."""


def by_gradient(prepared: Prepared, keys: str, seed: int) -> Blame:
    """Predicted rise of the held-out facts' losses by an AdamW step on the new fact."""
    found = kept_harm(prepared, keys, seed)["adamw"].blame
    return _blame(prepared.new_facts(keys, seed).ids, found)


def by_nearness(prepared: Prepared, keys: str, seed: int) -> Blame:
    """How near the new fact lies to its nearest held-out facts, at the declared place."""
    new, old, _ = _rows(prepared, keys, seed)
    found = new_distance(new, old, neighbours=min(NEIGHBOURS, len(old)))
    return _blame(prepared.new_facts(keys, seed).ids, -found)


def by_overlap(prepared: Prepared, keys: str, seed: int) -> Blame:
    """The new fact's part in the held-out facts' principal subspace beyond the control's."""
    new, old, control = _rows(prepared, keys, seed)
    rank = prepared.study.interference.rank
    found = fact_overlap(new, old, control, rank=rank)
    return _blame(prepared.new_facts(keys, seed).ids, found)


BLAMERS: dict[str, Callable[[Prepared, str, int], Blame]] = {
    "gradient": by_gradient,
    "nearness": by_nearness,
    "overlap": by_overlap,
}
"""Given the study's start, the new facts' keys, and a seed. Declared before any was tried."""

NEEDS_CONTROL = ("overlap",)
"""Those that a study without control facts can't have."""


def _blame(ids: list[str], values: np.ndarray) -> Blame:
    return dict(zip(ids, values.tolist(), strict=True))


def _rows(
    prepared: Prepared, keys: str, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New, held-out and control activations where interference is read; none: no rows."""
    place = prepared.hook, prepared.study.interference.position
    split = prepared.split
    new = new_recording(prepared, keys, seed)[place].numpy()
    old = prepared.recording("held_out", split.held_out)[place].numpy()
    if not len(split.control):
        return new, old, new[:0]
    return new, old, prepared.recording("control", split.control)[place].numpy()
