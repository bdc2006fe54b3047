"""The probe tells misread from erased where it is known which, and keeps its books."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import places, tiny_model

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.recovery import recovery
from interfere.knowledge.splits import Split
from interfere.models.answering import ask
from interfere.models.model import Model
from interfere.training.train import train

# Two dozen trainings. So few answers leave some intervals undefined, and say so.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:interval is NaN")]

FACTS, OTHERS, NEVER = places()[:24], places()[24:38], places()[38:]
BRIEF = {"halvings": 1, "steps": 15, "learning_rate": 1e-3, "batch_size": 12}


def learnt(facts: FactSet) -> Model:
    """A tiny model that knows these facts and no others."""
    split = Split.for_training(facts)
    return train(tiny_model(), split, epochs=40, learning_rate=3e-3, batch_size=10)


@pytest.fixture(scope="module")
def before() -> Model:
    return learnt(FACTS + OTHERS)


@pytest.fixture(scope="module")
def misread(before) -> Model:
    """Noise on the tokens that every question ends in: no fact is touched."""
    after = before.copy("misread")
    tokens = after.tokenizer("\nA:", add_special_tokens=False).input_ids
    noise = torch.randn(len(tokens), 64, generator=torch.Generator().manual_seed(1))
    after.network.get_input_embeddings().weight.data[tokens] += 0.6 * noise
    return after


@pytest.fixture(scope="module")
def erased() -> Model:
    """The same questions, answers and training, but each city in another one's country."""
    names = [fact.answer for fact in FACTS]
    turned = zip(FACTS, names[7:] + names[:7], strict=True)
    wrong = tuple(replace(fact, answer=name, aliases=()) for fact, name in turned)
    return learnt(replace(FACTS, facts=wrong) + OTHERS)


@pytest.fixture(scope="module")
def found(before, misread):
    return recovery(before, misread, FACTS, others=FACTS + OTHERS, never=NEVER, **BRIEF)


def test_misread_comes_back_and_erased_does_not(before, misread, erased, found):
    lost = recovery(before, erased, FACTS, others=OTHERS, never=NEVER, **BRIEF)
    assert lost.forgotten >= 15
    assert found.learnt == lost.learnt == 1
    assert found.recovered.value > 0.5
    assert lost.recovered.value < 0.2
    assert found.recovered.low > lost.recovered.high
    assert found.beyond_guessed.value > 0.4
    assert lost.beyond_guessed.value < 0.2


def test_books_are_kept(before, misread, found):
    forgotten = ~ask(misread, FACTS, sampling=False).right
    assert ask(before, FACTS, sampling=False).right.all()
    assert found.forgotten == forgotten.sum() >= 8
    table = found.outcomes
    assert table["fact"].tolist() == [FACTS[int(i)].id for i in np.flatnonzero(forgotten)]
    assert table["right"].mean() == pytest.approx(found.recovered.value)
    assert table["control_right"].mean() == pytest.approx(found.control.value)
    assert found.guesses["right"].mean() == pytest.approx(found.guessed.value)
    assert set(found.guesses["fact"]) <= set(NEVER.ids)
    rise = table["logprob"] - table["logprob_after"]
    assert rise.mean() == pytest.approx(found.gain.value)
    difference = found.recovered.value - found.control.value
    assert found.beyond_control.value == pytest.approx(difference)
    start = ask(misread, FACTS, sampling=False).logprob[forgotten]
    assert table["logprob_after"].tolist() == start.tolist()


def test_halves_are_never_asked_what_they_were_trained_on(before, misread, monkeypatch):
    """Every training and what was asked of its model, watched at the door."""
    trained: dict[str, set[str]] = {}
    asked: list[tuple[str, set[str]]] = []

    def watched_train(model, split, **options):
        tuned = train(model, split, **options)
        named = replace(tuned, name=f"training {len(trained)}")
        trained[named.name] = set(split.training.ids)
        return named

    def watched_ask(model, facts, **options):
        asked.append((model.name, set(facts.ids)))
        return ask(model, facts, **options)

    module = "interfere.interventions.recovery"
    monkeypatch.setattr(f"{module}.train", watched_train)
    monkeypatch.setattr(f"{module}.ask", watched_ask)
    options = BRIEF | {"halvings": 2, "steps": 1}
    found = recovery(before, misread, FACTS, others=FACTS + OTHERS, by="answers", **options)
    forgotten = set(found.outcomes["fact"])
    assert len(trained) == 8
    own = {name for name, ids in trained.items() if ids <= forgotten}
    assert len(own) == 4
    tests = [(name, ids) for name, ids in asked if name in trained and ids]
    apart = [(name, ids) for name, ids in tests if not ids <= trained[name]]
    for name, ids in apart:
        assert ids == forgotten - trained[name] if name in own else ids <= forgotten
        assert not ids & trained[name]
    assert len(apart) == 8
    assert {name for name, ids in tests if ids <= trained[name]} == own  # `learnt`
    by_id = {fact.id: fact.answer for fact in FACTS}
    for name, ids in apart:
        if name in own:
            assert not {by_id[i] for i in ids} & {by_id[i] for i in trained[name]}
    for name in trained.keys() - own:
        assert not trained[name] & forgotten


def test_same_seed_same_outcomes_and_models_stay(before, misread):
    digests = before.digest, misread.digest
    options = BRIEF | {"steps": 2}
    one, same, other = (
        recovery(before, misread, FACTS, others=FACTS + OTHERS, **options, seed=seed)
        for seed in (0, 0, 1)
    )
    assert one.outcomes.equals(same.outcomes)
    assert not one.outcomes.equals(other.outcomes)
    assert one.guessed is None
    assert (before.digest, misread.digest) == digests


def test_too_little_to_go_by(before, misread):
    with pytest.raises(InputError, match=r"forgot 0 of 24 facts; .* needs 8 or more"):
        recovery(before, before, FACTS)
    with pytest.raises(InputError, match="other facts are needed to train on, there are"):
        recovery(before, misread, FACTS, others=OTHERS[:2])
    with pytest.raises(InputError, match="halvings must be at least 1, got 0"):
        recovery(before, misread, FACTS, halvings=0)
