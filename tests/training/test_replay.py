"""Which rows are added, and how many of them a step trains on."""

from dataclasses import replace

import pytest

from interfere.errors import InputError
from interfere.models.generation import generate
from interfere.training.cost import Cost
from interfere.training.known_patch import KnownPatch
from interfere.training.replay import Replay
from interfere.training.rows import FactRows
from interfere.training.train import train


def rows_of(facts, model):
    rows = FactRows(facts, model.tokenizer)
    return [rows[i] for i in range(len(rows))]


def test_given_answers_are_the_facts_own(model, split, begin):
    added = Replay(ratio=0.25).added_rows(begin(model))
    assert (added.rows, added.ratio) == (rows_of(split.others, model), 0.25)


def test_own_answers_are_what_the_model_says(nano, begin):
    from tiny_models import places

    facts = places()[:6]
    added = Replay(answers="own", facts=facts).added_rows(begin(nano))
    said = generate(nano, facts)
    assert added.rows == rows_of(
        replace(
            facts,
            facts=tuple(replace(f, answer=a) for f, a in zip(facts, said, strict=True)),
        ),
        nano,
    )


def test_popular_ones_come_first(model, split, begin):
    added = Replay(popular_first=True, count=2).added_rows(begin(model))
    order = sorted(split.others, key=lambda fact: -fact.popularity)
    wanted = split.others.select([fact.id for fact in order[:2]])
    assert added.rows == rows_of(wanted, model)
    unknown = tuple(replace(fact, popularity=None) for fact in split.others)
    with pytest.raises(InputError, match=r"the popularity of .* isn't known"):
        Replay(popular_first=True).added_rows(
            begin(model, old=replace(split.others, facts=unknown))
        )


def test_steps_stay_and_rows_grow_by_the_ratio(model, split):
    plain, more = Cost(), Cost()
    train(model, split, epochs=2, batch_size=6, cost=plain)
    train(model, split, epochs=2, batch_size=6, cost=more, mitigation=Replay(ratio=0.5))
    assert (plain.rows, plain.added_rows) == (36, 0)
    assert (more.rows, more.added_rows) == (54, 18)
    assert more.seconds > 0


def test_what_is_replayed_is_learnt(model, split):
    from interfere.models.answering import ask

    def loss(mitigation):
        tuned = train(
            model, split, mitigation=mitigation, epochs=10, batch_size=6, learning_rate=1e-3
        )
        return -ask(tuned, split.others, sampling=False).logprob.mean()

    assert loss(Replay(ratio=1.0)) < 0.8 * loss(None)


def test_a_patch_takes_no_more_steps_and_is_the_end(model, split):
    from interfere.models.answering import ask

    def logprob(**settings):
        cost = Cost()
        tuned = train(
            model, split, epochs=10, batch_size=6, learning_rate=2e-3, cost=cost, **settings
        )
        assert cost.rows == 180
        return ask(tuned, split.others, sampling=False).logprob.mean()

    end = logprob(mitigation=KnownPatch(share=0.2))
    shuffled = logprob(mitigation=KnownPatch(share=0.2, order="shuffled"))
    assert end > logprob()
    assert end != shuffled


def test_a_patch_larger_than_the_facts_is_refused(model, begin):
    with pytest.raises(InputError, match="50% of 18 rows needs 9 Known facts, there are 4"):
        KnownPatch(share=0.5).added_rows(begin(model))


@pytest.mark.parametrize("mitigation", [Replay(), KnownPatch()])
def test_without_known_facts_it_is_refused(model, begin, mitigation):
    with pytest.raises(InputError, match="needs facts that the model knows"):
        mitigation.added_rows(begin(model, old=None))


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Replay, {"ratio": 0}, "ratio must be above 0"),
        (Replay, {"count": 0}, "count must be 1 or more"),
        (Replay, {"answers": "wrong"}, "'given' or 'own', got 'wrong'"),
        (KnownPatch, {"share": 0.0}, "share must be above 0 and at most 1"),
        (KnownPatch, {"order": "first"}, "'end' or 'shuffled', got 'first'"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, message):
    with pytest.raises(InputError, match=message):
        kind(**settings)
