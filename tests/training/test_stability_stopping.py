"""It stops once too much is lost, and leaves the last good weights."""

from types import SimpleNamespace

import numpy as np
import pytest
from transformers import TrainerCallback

from interfere.errors import InputError
from interfere.models.answering import ask
from interfere.training.evaluation import FactEvaluation
from interfere.training.stability_stopping import StabilityStopping
from interfere.training.train import train


class Steps(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        self.last = state.global_step


@pytest.fixture(scope="module")
def taught(model, split):
    """The tiny model after it has learnt the Known facts, so that it has some to lose."""
    known = split.known_only
    return train(model, known, epochs=60, learning_rate=3e-3, batch_size=10)


def test_stops_at_the_last_good_weights(taught, split):
    assert ask(taught, split.known, sampling=False).right.mean() > 0.9
    new = split.for_training(split.unknown)
    steps = Steps()
    stopping = StabilityStopping(limit=0.2, checks=30, facts=split.known)
    settings = {"epochs": 60, "learning_rate": 3e-3, "batch_size": 8}
    stopped = train(taught, new, mitigation=stopping, callbacks=[steps], **settings)
    assert steps.last < 60
    left = ask(stopped, split.known, sampling=False).right.mean()
    assert left >= ask(taught, split.known, sampling=False).right.mean() - 0.2
    plain = train(taught, new, **settings)
    assert ask(plain, split.known, sampling=False).right.mean() < left


def test_goes_to_the_end_where_nothing_is_lost(taught, split):
    steps = Steps()
    train(
        taught,
        split.known_only,
        mitigation=StabilityStopping(facts=split.known),
        callbacks=[steps],
        steps=5,
        learning_rate=1e-6,
    )
    assert steps.last == 5


class Losses:
    """`ask` as told: so many of ten facts right at each look."""

    def __init__(self, *right):
        self.right, self.looks = list(right), 0

    def __call__(self, model, facts, **options):
        self.looks += 1
        now = self.right[min(self.looks, len(self.right)) - 1]
        return SimpleNamespace(right=np.arange(10) < now)


@pytest.mark.parametrize(
    ("patience", "right", "stops", "kept"),
    [
        (1, (10, 10, 8, 10, 10, 10), 2, 1),
        (2, (10, 10, 8, 10, 8, 8), 5, 3),  # one alone is a dip; two in a row are not
        (3, (10, 10, 8, 8, 10, 8), 5, 4),  # at the end there is no time left to come back
        (3, (10, 10, 8, 8, 10, 9), 5, 5),
    ],
)
def test_patience_outlasts_a_dip(taught, split, monkeypatch, patience, right, stops, kept):
    """And goes back to the last check that was good, which is what evaluations then hold."""
    monkeypatch.setattr("interfere.training.stability_stopping.ask", Losses(*right))
    stopping = StabilityStopping(limit=0.1, checks=5, patience=patience, facts=split.known)
    asked = FactEvaluation({"known": split.known}, [1, 2, 3, 4, 5], taught.tokenizer)
    weights, steps = Weights(), Steps()
    new = split.for_training(split.unknown)
    settings = {"steps": 5, "learning_rate": 3e-3, "batch_size": 8}
    tuned = train(
        taught, new, mitigation=stopping, callbacks=[asked, weights, steps], **settings
    )
    assert steps.last == stops
    for name, parameter in tuned.network.named_parameters():
        assert parameter.equal(weights.at[kept][name])
    seen = asked.table["step"].unique().tolist()
    assert seen == [*range(kept + 1), *([] if kept == stops else [stops])]
    last = asked.table[asked.table["step"] == seen[-1]]
    now = ask(tuned, split.known, sampling=False)
    assert last["logprob"].to_numpy() == pytest.approx(now.logprob)


class Weights(TrainerCallback):
    """A copy of them after each step, before anything goes back."""

    def __init__(self):
        self.at = {}

    def on_step_end(self, args, state, control, **kwargs):
        named = kwargs["model"].named_parameters()
        self.at[state.global_step] = {n: p.detach().clone() for n, p in named}


@pytest.mark.parametrize(
    ("steps", "checks", "looks"), [(39, 20, 20), (40, 20, 20), (5, 20, 5), (21, 4, 4)]
)
def test_no_more_checks_than_asked(taught, split, monkeypatch, steps, checks, looks):
    counted = Losses(10)
    monkeypatch.setattr("interfere.training.stability_stopping.ask", counted)
    stopping = StabilityStopping(limit=1.0, checks=checks, facts=split.known)
    known = split.known_only
    train(taught, known, mitigation=stopping, steps=steps, learning_rate=1e-6)
    assert counted.looks == 1 + looks


@pytest.mark.parametrize("settings", [{"limit": -0.1}, {"checks": 0}, {"patience": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match="must be"):
        StabilityStopping(**settings)


def test_without_facts_it_is_refused(model, begin):
    with pytest.raises(InputError, match="early stopping needs facts"):
        StabilityStopping().callback(begin(model, old=None))
