"""Halves share no fact and no answer, and give back a variance that is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.halves import halve, set_codes, student, variance_of_halves


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), clusters=st.integers(4, 60))
def test_halves_are_disjoint_whole_and_by_answer(seed, clusters):
    rng = np.random.default_rng(seed)
    sets = [rng.integers(0, clusters, n) for n in (90, 60, 40)]
    first, second = halve(sets, rng)
    for codes, a, b in zip(sets, first, second, strict=True):
        assert (a ^ b).all()
        assert not set(codes[a]) & set(codes[b])


def test_halves_of_single_facts_are_halves():
    sets = set_codes(None, (90, 61, 40), "overlap")
    for half in halve(sets, np.random.default_rng(0)):
        assert [abs(int(m.sum()) - len(m) / 2) <= 1 for m in half] == [True] * 3


def test_answers_are_one_over_sets():
    codes = set_codes((["a", "b"], ["b", "c", "a"]), (2, 3), "overlap")
    assert [c.tolist() for c in codes] == [[0, 1], [1, 2, 0]]
    with pytest.raises(
        InputError, match="overlap, answers: expected a label for each of 4"
    ):
        set_codes((["a", "b"], ["b", "c", "a"]), (2, 4), "overlap")


def test_the_variance_of_a_mean_is_recovered():
    """Half the squared difference of two halves' means is σ² / (n / 2)."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        x = rng.normal(size=80)
        halves = [halve([np.arange(80)], rng) for _ in range(10)]
        values = [[x[mask].mean() for (mask,) in halving] for halving in halves]
        found.append(variance_of_halves(np.array(values)) / 2)
    assert np.mean(found) == pytest.approx(1 / 80, rel=0.1)


def test_few_answers_widen_and_one_is_nan():
    assert student([np.arange(99)]) < student([np.arange(99), np.arange(99) % 4])
    assert np.isnan(student([np.arange(99), np.zeros(9, dtype=int)]))
