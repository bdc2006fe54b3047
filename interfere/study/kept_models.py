"""What a study's arms trained, where its runs kept the weights."""

from collections.abc import Iterator

import numpy as np

from interfere.facts.fact import FactSet
from interfere.models.load import load_model
from interfere.models.model import Model
from interfere.study.factors import Runs
from interfere.study.preparation import Prepared, Say
from interfere.study.study import Study, plain_arm


def weights_are_kept(study: Study, what: str, say: Say) -> bool:
    """Whether runs hold their weights; if not, says what can't be measured."""
    if not study.keep_weights:
        say(f"no {what}: the study's runs don't keep their weights (keep_weights: true)")
    return study.keep_weights


def kept_models(prepared: Prepared, runs: Runs, arm: str) -> Iterator[Model]:
    """The arm's tuned model under each seed, one at a time."""
    study = prepared.study
    for job, folder in runs:
        if job.arm.name == arm:
            yield load_model(str(folder / "model"), device=study.device, dtype=study.dtype)


def looked_into(study: Study) -> list[str]:
    """Plain SFT, and self-distillation on the same keys: arms that are asked patched."""
    plain = plain_arm(study)
    if plain is None:
        return []
    rivals = [
        arm.name
        for arm in study.arms
        if arm.mitigation == "self-distillation" and arm.keys == plain.keys
    ]
    return [plain.name, *rivals]


def right_before(prepared: Prepared, most: int) -> FactSet:
    """Held-out facts that the format checkpoint knows: at most so many, drawn at random.

    Chosen by what came before training alone: those picked for being forgotten would come
    back in part by chance.
    """
    held_out = prepared.split.held_out
    right = np.flatnonzero(prepared.recording("held_out", held_out).right)
    drawn = np.random.default_rng(0).choice(right, min(most, len(right)), replace=False)
    return held_out.select(held_out[int(place)].id for place in np.sort(drawn))
