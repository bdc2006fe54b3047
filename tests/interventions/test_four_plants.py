"""Four things that may happen to old facts, planted in nano, and told apart by measures."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from interfere.activations.recorder import record
from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames
from interfere.interventions.activation_patching import activation_patching
from interfere.interventions.counterfactual_shift import counterfactual_shift
from interfere.measures.displacement_split import displacement_split
from interfere.measures.folds import fact_folds
from interfere.measures.probe_transfer import readings
from interfere.models.load import load_model
from interfere.models.model import Model

HOOK, POSITION, BLOCK = "blocks.2.hook_out", "prompt_last", 2
HERE = {"hooks": HOOK, "position": POSITION}

NO, MUCH = (-0.1, 0.1), (0.5, 1.1)
"""Shares: of the movement, of the facts, of the fallen log-probability."""

EXPECTED = {
    "common": {
        "split": MUCH,
        "erased": NO,
        "misread": MUCH,
        "recentred": MUCH,
        "common out": MUCH,
        "residual out": NO,
    },
    "residual": {
        "split": NO,
        "erased": NO,
        "misread": NO,
        "recentred": NO,
        "common out": NO,
        "residual out": MUCH,
    },
    "erased": {
        "split": NO,
        "erased": MUCH,
        "misread": (-0.3, 0.1),  # the old probe's guesses are no worse than a new one's
        "recentred": NO,
        "common out": NO,
        "residual out": MUCH,
    },
    "rotated": {
        "split": NO,
        "erased": NO,
        "misread": MUCH,
        "recentred": NO,
        "common out": NO,
        "residual out": (0.1, 1.1),  # other tokens are turned too
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def before() -> Model:
    return load_model("nano")


@pytest.fixture(scope="module")
def facts(before, tmp_path_factory) -> FactSet:
    """40 cities, which nano knows, of each of six countries."""
    cities = geonames(["P17"], limit=4000)
    asked = record(before, cities, tmp_path_factory.mktemp("asked") / "a.h5", hooks=HOOK)
    known = [fact for fact, right in zip(cities, asked.right, strict=True) if right]
    names, counts = np.unique([fact.answer for fact in known], return_counts=True)
    chosen = names[np.argsort(-counts, kind="stable")[:6]]
    some = [[f for f in known if f.answer == name][:40] for name in chosen]
    assert [len(own) for own in some] == [40] * 6
    return replace(cities, facts=tuple(fact for own in some for fact in own))


@pytest.fixture(scope="module")
def activations(before, facts, tmp_path_factory) -> np.ndarray:
    path = tmp_path_factory.mktemp("before") / "b.h5"
    return record(before, facts, path, hooks=HOOK)[HOOK, POSITION].numpy().astype(float)


def plant(kind: str, x: np.ndarray, answers: np.ndarray) -> Callable[[Tensor], Tensor]:
    """What a block's output becomes, at every token."""
    rng = np.random.default_rng(0)
    width, mean = x.shape[1], x.mean(0)
    size = np.sqrt(np.square(x - mean).sum(1).mean())
    means = np.stack([x[answers == name].mean(0) for name in np.unique(answers)]) - mean
    reads = np.linalg.svd(means, full_matrices=False)[2][: len(means) - 1].T
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
    along = reads @ rng.normal(size=reads.shape[1])
    # A fast wave of the activation: to each fact its own, and the same in every run.
    wave, phase = rng.normal(size=(width, width)) / size, rng.uniform(0, 7, size=width)
    mean, reads, turn, along, wave, phase = (
        torch.from_numpy(part).float() for part in (mean, reads, turn, along, wave, phase)
    )
    along = 1.5 * size * along / along.norm()
    return {
        "common": lambda out: out + along,
        "residual": lambda out: out + 0.12 * size * torch.cos(20 * out @ wave + phase),
        "erased": lambda out: out - (out - mean) @ reads @ reads.T,
        "rotated": lambda out: (out - mean) @ turn + mean,
    }[kind]


@pytest.fixture(scope="module", params=list(EXPECTED))
def planted(request, before, facts, activations):
    answers = np.array([fact.answer for fact in facts])
    change = plant(request.param, activations, answers)
    after = before.copy(request.param)

    def put(module, given, out):
        if isinstance(out, tuple):
            return (change(out[0]), *out[1:])
        return change(out)

    after.network.model.layers[BLOCK].register_forward_hook(put)
    return request.param, after


def test_each_is_told_from_the_others(planted, before, facts, activations, tmp_path):
    kind, after = planted
    now = record(after, facts, tmp_path / "after.h5", hooks=HOOK)
    y = now[HOOK, POSITION].numpy().astype(float)
    answers = [fact.answer for fact in facts]
    split = displacement_split(activations, y, ["P17"] * len(facts), answers).share.value
    folds = fact_folds(now.table)
    probes = readings(activations, y, folds).summary(answers, chance=folds.chance)
    assert probes.before.value > 0.9
    shifted = counterfactual_shift(before, after, facts, **HERE).table()
    back = shifted.set_index("shift")["recovered"]
    patched = activation_patching(
        before, after, facts, hooks=[HOOK, "blocks.1.hook_out"], positions=["all"]
    ).table()
    whole = patched.set_index("hook")["recovered"]
    assert whole[HOOK] == pytest.approx(1, abs=1e-3)  # it was done here,
    assert whole["blocks.1.hook_out"] == pytest.approx(0, abs=1e-3)  # and not ahead of it
    found = {
        "split": split,
        "erased": probes.erased.value,
        "misread": probes.misread.value,
        "recentred": probes.shift.value,
        "common out": back["common out"],
        "residual out": back["residual out"],
    }
    for name, (low, high) in EXPECTED[kind].items():
        assert low < found[name] < high, (name, found)
