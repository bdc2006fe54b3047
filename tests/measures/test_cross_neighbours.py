"""Neighbours that are planted mixed or apart, by hand, and uniform under the null."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

from interfere.errors import InputError
from interfere.measures.cross_neighbours import cross_neighbours


def test_by_hand_on_a_line():
    old, new = np.array([[0.0], [1], [10]]), np.array([[0.4], [11]])
    found = cross_neighbours(old, new, k=1, metric="euclidean", permutations=9)
    assert found.per_fact.tolist() == [1, 1, 1]
    two = cross_neighbours(old, new, k=2, metric="euclidean", permutations=9)
    assert two.per_fact.tolist() == [0.5, 0.5, 0.5]
    assert two.share.null == 2 / 4


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 6))
def test_is_sorting_all_distances(seed, k):
    old, new = gaussian(seed, 9, 3), gaussian(seed + 1, 7, 3)
    both = np.concatenate([old, new])
    apart = cdist(both, both)
    np.fill_diagonal(apart, np.inf)
    expected = [(np.argsort(row)[:k] >= 9).mean() for row in apart[:9]]
    found = cross_neighbours(old, new, k=k, metric="euclidean", permutations=1)
    assert found.per_fact == pytest.approx(expected)


def test_a_fact_twice_is_its_own_neighbours_but_not_itself():
    old = np.zeros((4, 2))
    found = cross_neighbours(old, gaussian(0, 5, 2) + 9, k=3, metric="euclidean")
    assert found.per_fact.tolist() == [0] * 4


def test_sets_apart_and_mixed():
    old, new = gaussian(0, 80, 6), gaussian(1, 60, 6)
    apart = cross_neighbours(old, new + 20)
    assert apart.share.value == 0
    assert apart.share.shows
    assert apart.permuted.p_value == pytest.approx(2 / 1000)
    mixed = cross_neighbours(old, new)
    assert mixed.share.null == 60 / 139
    assert mixed.permuted.mean == pytest.approx(60 / 139, abs=0.005)
    assert mixed.share.low < 60 / 139 < mixed.share.high


def test_old_facts_spread_between_new_ones_have_more_than_mixing_gives():
    new = np.repeat(gaussian(0, 20, 6), 5, axis=0) + 0.01 * gaussian(1, 100, 6)
    old = new[::5] + 0.01 * gaussian(2, 20, 6)
    found = cross_neighbours(old, new, k=4)
    assert found.share.value == pytest.approx(1)
    assert found.share.value > found.share.null


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("dealt", ["by fact", "by fact, few new", "by answer"])
def test_p_values_are_uniform_and_intervals_cover_when_sets_are_one(dealt):
    """2,000 draws of 90 facts of 42 answers, 1, 2 or 3 each, each with a place of its own.

    Uniform but for ties (a share is one of few numbers), which make p larger, never smaller.
    """
    p_values, shows, uniform = [], [], np.random.default_rng(0)
    for seed in range(2000):
        x, answers, is_new = one_population(seed, dealt)
        found = cross_neighbours(
            x[~is_new],
            x[is_new],
            k=5,
            answers=answers[~is_new],
            new_answers=answers[is_new],
            permutations=39,
            resamples=200,
            seed=seed,
        )
        p_values.append(found.permuted.p_value)
        shows.append(found.share.shows)
    jittered = np.array(p_values) - uniform.uniform(0, 0.05, 2000)
    assert stats.kstest(jittered, "uniform", alternative="greater").pvalue > 0.01
    assert stats.kstest(jittered, "uniform").statistic < 0.1
    for level in (0.05, 0.1, 0.2):
        assert level - 0.035 < np.mean(jittered < level) < level + 0.02
    assert np.mean(shows) < 0.15


def one_population(seed: int, dealt: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Facts, their answers, and which of them are new, by chance: facts or whole answers."""
    rng = np.random.default_rng(seed)
    answers = np.repeat(np.arange(42), [1] * 12 + [2] * 12 + [3] * 18)
    x = rng.normal(size=(42, 4))[answers] + 0.5 * rng.normal(size=(90, 4))
    if dealt == "by answer":
        return x, answers, np.isin(answers, rng.permutation(42)[:20])
    return x, answers, rng.permutation(90) < (20 if "few" in dealt else 45)


def test_facts_dealt_one_by_one_are_too_sure_where_answers_lie_in_one_set_each():
    p_values = {True: [], False: []}
    for seed in range(60):
        x, answers, is_new = one_population(seed, "by answer")
        for by_answer, found in p_values.items():
            sides = {"answers": answers[~is_new]}
            if by_answer:
                sides["new_answers"] = answers[is_new]
            there = cross_neighbours(
                x[~is_new], x[is_new], k=5, permutations=99, resamples=50, **sides
            )
            found.append(there.permuted.p_value)
    assert np.mean(np.array(p_values[False]) < 0.05) > 0.4
    assert np.mean(np.array(p_values[True]) < 0.05) < 0.15


def test_one_answer_a_set_says_nothing():
    old, new = gaussian(0, 9, 3), gaussian(1, 9, 3) + 9
    with pytest.warns(UserWarning, match="in 2 ways only; it needs more answers"):
        found = cross_neighbours(old, new, k=3, answers=["a"] * 9, new_answers=["b"] * 9)
    assert np.isnan([found.permuted.p_value, found.share.null]).all()
    assert not found.share.shows


def test_k_out_of_range_is_refused():
    with pytest.raises(InputError, match="k must be from 1 to 9, got 10"):
        cross_neighbours(gaussian(0, 5, 2), gaussian(1, 5, 2), k=10)


def test_answers_of_the_new_facts_alone_are_refused():
    x = gaussian(0, 5, 2)
    with pytest.raises(InputError, match="give the answers of both sets, or of the old"):
        cross_neighbours(x, x, k=2, new_answers=np.arange(5))
