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


def test_p_values_are_uniform_and_intervals_cover_when_sets_are_one():
    p_values, covered = [], []
    for seed in range(200):
        x = gaussian(seed, 90, 4)
        found = cross_neighbours(
            x[:50], x[50:], k=5, permutations=99, resamples=400, seed=seed
        )
        p_values.append(found.permuted.p_value)
        covered.append(found.share.low <= found.share.null <= found.share.high)
    jittered = np.array(p_values) - np.random.default_rng(0).uniform(0, 0.02, 200)
    assert stats.kstest(jittered, "uniform").pvalue > 0.01
    assert 0.85 < np.mean(covered) <= 1


def test_k_out_of_range_is_refused():
    with pytest.raises(InputError, match="k must be from 1 to 9, got 10"):
        cross_neighbours(gaussian(0, 5, 2), gaussian(1, 5, 2), k=10)
