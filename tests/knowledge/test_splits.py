from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import tokenizer

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.facts.geonames import geonames
from interfere.knowledge.knowledge import Knowledge
from interfere.knowledge.quotas import total_variation

LARGE = geonames(["P17"], limit=3000)


def knowledge(facts, categories):
    table = facts.table[["id", "subject", "relation", "answer"]].assign(
        category=list(categories),
        p_correct=0.0,
        pi=0.0,
        greedy=0.0,
        logprob=0.0,
        margin=0.0,
    )
    table["strict"] = table["category"] == "Unknown"
    shown = facts.select(table.loc[table["category"] == "exemplar", "id"])
    return Knowledge(facts, table, shown, tokenizer())


def at_random(facts, seed=0, shares=(0.5, 0.05, 0.02, 0.4, 0.03)):
    names = ["HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown", "exemplar"]
    return knowledge(facts, np.random.default_rng(seed).choice(names, len(facts), p=shares))


def answers(facts):
    return Counter((fact.relation, fact.answer) for fact in facts)


NAMES = ("known", "unknown", "held_out", "validation", "others")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    known=st.integers(0, 300),
    unknown=st.integers(1, 300),
    held_out=st.integers(1, 300),
    validation=st.integers(0, 100),
    cap=st.none() | st.integers(8, 40),
)
def test_sets_are_disjoint_sized_capped_and_of_the_right_kind(
    seed, known, unknown, held_out, validation, cap
):
    knows = at_random(LARGE)
    split = knows.split(
        known=known,
        unknown=unknown,
        held_out=held_out,
        validation=validation,
        cap=cap,
        seed=seed,
    )
    sizes = {
        "known": known,
        "unknown": unknown,
        "held_out": held_out,
        "validation": validation,
    }
    for name, size in sizes.items():
        assert len(getattr(split, name)) == size
    assert len(split.others) <= unknown
    ids = [fact.id for name in NAMES for fact in getattr(split, name)]
    assert len(ids) == len(set(ids))
    category = dict(zip(knows.table["id"], knows.table["category"], strict=True))
    for name in NAMES:
        kind = "Unknown" if name == "unknown" else "HighlyKnown"
        assert {category[fact.id] for fact in getattr(split, name)} <= {kind}
        if cap is not None:
            assert max(answers(getattr(split, name)).values(), default=0) <= cap


def test_answers_are_distributed_alike():
    split = at_random(LARGE).split(
        known=200, unknown=200, held_out=200, control=100, seed=1
    )
    goal = answers(split.unknown)
    for name in ("known", "held_out", "others", "control"):
        assert total_variation(answers(getattr(split, name)), goal) < 0.15
    assert split.notes == ()


def test_a_known_pool_of_other_answers_is_matched_as_far_as_it_goes():
    """China is a third of the known and rare among the unknown."""
    is_china = np.array([fact.answer == "China" for fact in LARGE])
    odd = np.arange(len(LARGE)) % 2 == 1
    knows = knowledge(
        LARGE,
        np.where(is_china | odd, "HighlyKnown", np.where(odd, "MaybeKnown", "Unknown")),
    )
    split = knows.split(known=200, unknown=200, held_out=200, seed=0)
    assert total_variation(answers(split.known), answers(split.unknown)) < 0.1
    assert not any(fact.answer == "China" for fact in split.known)


def test_what_cannot_be_matched_is_said_with_a_number():
    facts = FactSet(
        tuple(
            Fact(str(i), f"s{i}", "P17", f"{'old' if i < 50 else 'new'} {i % 5}")
            for i in range(100)
        ),
        "test",
    )
    split = knowledge(facts, ["HighlyKnown"] * 50 + ["Unknown"] * 50).split(
        known=20, unknown=20, held_out=20
    )
    assert (
        "known: answers are not distributed as in unknown (total variation 1.00)"
        in split.notes
    )
    assert "others: 10 HighlyKnown facts are left where the unknown are 20" in split.notes


def test_relations_have_like_shares():
    facts = geonames(["P17", "P421"], limit=1500)
    split = at_random(facts).split(known=200, unknown=150, held_out=100, seed=3)
    shares = [
        sum(fact.relation == "P17" for fact in chosen) / len(chosen)
        for chosen in (split.known, split.unknown, split.held_out)
    ]
    np.testing.assert_allclose(shares, shares[0], atol=0.02)


def test_seed_decides():
    knows = at_random(LARGE)
    one, same, other = (
        knows.split(known=50, unknown=50, held_out=50, control=20, seed=s)
        for s in (4, 4, 5)
    )
    assert one == same
    assert set(one.known.ids) != set(other.known.ids)


def test_control_asks_the_same_of_hexadecimal_names():
    split = at_random(LARGE).split(known=50, unknown=50, held_out=50, control=80, seed=0)
    assert len(split.control) == 80
    for fact in split.control:
        assert set(fact.subject) <= set("0123456789abcdef")
        assert fact.relation == "P17"


def test_training_is_known_then_unknown():
    split = at_random(LARGE).split(known=30, unknown=20, held_out=10, seed=0)
    assert split.training.ids == split.known.ids + split.unknown.ids
    assert split.known_only.training.ids == split.known.ids
    assert split.known_only.held_out == split.held_out


def test_synthetic_facts_take_the_place_of_the_unknown():
    split = at_random(LARGE).split(known=30, unknown=20, held_out=10, control=10, seed=0)
    new = FactSet((Fact("k", "Bergadena", "P17", "China"), split.control[0]), "keys")
    other = split.with_unknown(new)
    assert other.unknown == new
    assert other.known == split.known
    assert other.control.ids == split.control.ids[1:]
    with pytest.raises(InputError, match=r"is in the split's held_out already"):
        split.with_unknown(split.held_out)


def test_no_subject_is_both_trained_on_and_measured():
    facts = geonames(["P17", "P421"], limit=800)
    split = at_random(facts).split(
        known=100, unknown=100, held_out=100, seed=0, drop_shared_subjects=True
    )
    measured = {fact.subject for fact in split.held_out}
    assert not measured & {fact.subject for fact in split.training}


def test_no_answer_is_both_trained_on_and_measured():
    split = at_random(LARGE).split(
        known=100,
        unknown=100,
        held_out=100,
        validation=20,
        seed=0,
        drop_shared_objects=True,
    )
    measured = {fact.answer for fact in split.held_out + split.validation}
    assert not measured & {fact.answer for fact in split.training}
    assert any(
        note.startswith("held out: answers are not distributed") for note in split.notes
    )


def test_too_few_facts_are_counted():
    facts = LARGE[:600]
    knows = knowledge(facts, ["HighlyKnown"] * 312 + ["Unknown"] * 288)
    message = (
        r"P17 has 312 HighlyKnown facts, the split asks for 1,000 "
        r"\(known 400 \+ held out 400 \+ validation 200\); lower them or raise the facts' limit"
    )
    with pytest.raises(InputError, match=message):
        knows.split(known=400, unknown=100, held_out=400, validation=200)
    with pytest.raises(InputError, match=r"P17 has 288 strictly Unknown facts, .* 300"):
        knows.split(known=10, unknown=300, held_out=10)
    with pytest.raises(
        InputError, match=r"with at most 1 an answer in a set, .* raise the cap"
    ):
        knows.split(known=10, unknown=200, held_out=10, cap=1)
    with pytest.raises(InputError, match="cap must be at least 1"):
        knows.split(known=10, unknown=10, held_out=10, cap=0)
    with pytest.raises(InputError, match="known must be 0 or more facts, got -1"):
        knows.split(known=-1, unknown=10, held_out=10)


def test_no_facts_of_a_kind():
    knows = knowledge(LARGE[:50], ["HighlyKnown"] * 50)
    with pytest.raises(InputError, match=r"there are 0 strictly Unknown facts, .* 5"):
        knows.split(known=10, unknown=5, held_out=10)


def test_counts():
    facts = LARGE[:10]
    found = knowledge(facts, ["HighlyKnown"] * 6 + ["Unknown"] * 3 + ["exemplar"]).counts()
    expected = {"HighlyKnown": 6, "MaybeKnown": 0, "WeaklyKnown": 0, "Unknown": 3}
    expected |= {"strictly Unknown": 3, "exemplar": 1}
    assert dict(zip(found["category"], found["facts"], strict=True)) == expected
    assert isinstance(found, pd.DataFrame)
