"""It stops once too much is lost, and leaves the last good weights."""

import pytest
from transformers import TrainerCallback

from interfere.errors import InputError
from interfere.models.answering import ask
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


def test_patience_outlasts_a_dip(taught, split):
    """A first epoch on other facts loses some that come back: with patience it goes on."""
    settings = {"steps": 12, "learning_rate": 3e-3, "batch_size": 8}
    ends = {}
    for patience in (1, 3):
        steps = Steps()
        stopping = StabilityStopping(
            limit=0.0, checks=12, patience=patience, facts=split.known
        )
        new = split.for_training(split.unknown)
        train(taught, new, mitigation=stopping, callbacks=[steps], **settings)
        ends[patience] = steps.last
    assert ends[3] >= ends[1] + 2


@pytest.mark.parametrize(("steps", "checks"), [(39, 20), (40, 20), (5, 20), (21, 20)])
def test_no_more_checks_than_asked(taught, split, monkeypatch, steps, checks):
    asked = []
    monkeypatch.setattr(
        "interfere.training.stability_stopping.ask",
        lambda *a, **k: asked.append(1) or ask(*a, **k),
    )
    known = split.known_only
    stopping = StabilityStopping(limit=1.0, checks=checks, facts=split.known)
    train(taught, known, mitigation=stopping, steps=steps, learning_rate=1e-6)
    assert len(asked) - 1 <= checks


@pytest.mark.parametrize("settings", [{"limit": -0.1}, {"checks": 0}, {"patience": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match="must be"):
        StabilityStopping(**settings)


def test_without_facts_it_is_refused(model, begin):
    with pytest.raises(InputError, match="early stopping needs facts"):
        StabilityStopping().callback(begin(model, old=None))
