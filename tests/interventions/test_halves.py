"""Halves and matched draws: sizes, answers, chance."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import places

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.halves import halve, like


def facts(answers: str, begin: int = 0) -> FactSet:
    chosen = places()[begin : begin + len(answers)]
    named = zip(chosen, answers, strict=True)
    return replace(chosen, facts=tuple(replace(f, answer=a) for f, a in named))


@settings(deadline=None, max_examples=50)
@given(answers=st.text("abcd", min_size=1, max_size=30), seed=st.integers(0, 99))
def test_halves_by_facts_split_each_answer(answers, seed):
    first = halve(facts(answers), "facts", np.random.default_rng(seed))
    assert abs(int(first.sum()) - int((~first).sum())) <= 1
    for answer in set(answers):
        own = np.array([a == answer for a in answers])
        assert abs(int((own & first).sum()) - int((own & ~first).sum())) <= 1


@settings(deadline=None, max_examples=50)
@given(answers=st.text("abcdefgh", min_size=2, max_size=30), seed=st.integers(0, 99))
def test_halves_by_answers_share_none(answers, seed):
    if len(set(answers)) < 2:
        return
    first = halve(facts(answers), "answers", np.random.default_rng(seed))
    sides = (
        {a for a, f in zip(answers, first, strict=True) if f == side} for side in (0, 1)
    )
    one, other = sides
    assert one
    assert other
    assert not one & other
    assert abs(int(first.sum()) - int((~first).sum())) <= max(Counter(answers).values())


@pytest.mark.parametrize("by", ["facts", "answers"])
def test_every_fact_is_in_either_half_as_often(by):
    counts = sum(
        halve(facts("aaabbc"), by, np.random.default_rng(seed)).astype(int)
        for seed in range(400)
    )
    assert counts == pytest.approx(np.full(6, 200), abs=50)


def test_one_answer_can_not_be_halved_by_answers():
    with pytest.raises(InputError, match=r"all facts have the answer 'a', .* by facts"):
        halve(facts("aaaa"), "answers", np.random.default_rng(0))


@settings(deadline=None, max_examples=50)
@given(
    wanted=st.text("abc", min_size=1, max_size=10),
    pool=st.text("abcd", min_size=10, max_size=20),
    seed=st.integers(0, 99),
)
def test_like_has_the_answers_as_far_as_there_are(wanted, pool, seed):
    there = facts(pool, begin=20)
    drawn = like(facts(wanted), there, np.random.default_rng(seed))
    assert len(set(drawn.ids)) == len(wanted)
    assert set(drawn.ids) <= set(there.ids)
    had, got = Counter(wanted), Counter(fact.answer for fact in drawn)
    for answer, count in had.items():
        assert got[answer] >= min(count, Counter(pool)[answer])


def test_a_pool_that_is_too_small_is_refused():
    with pytest.raises(
        InputError, match="3 other facts are needed to train on, there are 2"
    ):
        like(facts("aaa"), facts("aa", begin=20), np.random.default_rng(0))
