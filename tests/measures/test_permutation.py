"""Permutation tests: by hand, by brute force, and uniform where there is nothing."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interfere.errors import InputError
from interfere.measures.permutation import sign_flip_test, two_sample_test

CLUSTERS = np.repeat(np.arange(40), 3)


def test_three_clusters_by_hand():
    # Sums 3, 1, 2: of the 8 patterns only +++ and --- reach 6.
    found = sign_flip_test(np.array([[1.0, 2, 1, 2]]), list("aabc"))
    assert (found.value, found.p_value) == (6 / 4, 2 / 8)
    assert (found.arrangements, found.exact) == (8, True)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_exact_is_every_pattern(seed):
    values = np.random.default_rng(seed).normal(0.4, 1, size=(2, 14))
    clusters = np.repeat(np.arange(7), 2)
    sums = values.mean(0).reshape(7, 2).sum(1)
    drawn = np.array([np.dot(signs, sums) for signs in product((-1, 1), repeat=7)])
    expected = (np.abs(drawn) >= abs(sums.sum()) - 1e-12).mean()
    assert sign_flip_test(values, clusters).p_value == pytest.approx(expected)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_exact_is_every_deal(seed):
    rng = np.random.default_rng(seed)
    labels = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5, 6])
    values = rng.normal(size=len(labels))
    a = labels < 3
    found = two_sample_test(values[a], values[~a], labels[a], labels[~a])
    drawn = []
    for chosen in combinations(range(7), 3):
        own = np.isin(labels, chosen)
        drawn.append(values[own].mean() - values[~own].mean())
    observed = values[a].mean() - values[~a].mean()
    assert found.value == pytest.approx(observed)
    assert found.p_value == pytest.approx((np.abs(drawn) >= abs(observed) - 1e-12).mean())
    assert (found.arrangements, found.exact) == (35, True)


def test_scipy_agrees_where_every_fact_is_a_cluster():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.8, 1, size=9), rng.normal(size=8)
    ours = two_sample_test(a, b, range(9), range(9, 17), permutations=10**5)
    theirs = stats.permutation_test(
        (a, b), lambda x, y: x.mean() - y.mean(), n_resamples=np.inf
    )
    assert ours.exact
    assert ours.p_value == pytest.approx(theirs.pvalue)
    ours = sign_flip_test(a[None], range(9))
    theirs = stats.permutation_test(
        (a,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert ours.p_value == pytest.approx(theirs.pvalue)


def test_random_patterns_count_the_observed_one():
    found = sign_flip_test(np.full((1, 120), 1.0), CLUSTERS, permutations=99)
    assert found.p_value == 1 / 100
    assert (found.arrangements, found.exact) == (100, False)


def test_random_is_near_exact(monkeypatch):
    rng = np.random.default_rng(3)
    values, clusters = rng.normal(0.3, 1, size=(1, 16)), range(16)
    exact = sign_flip_test(values, clusters, permutations=2**16)
    random = sign_flip_test(values, clusters, permutations=2**14)
    assert (exact.exact, random.exact) == (True, False)
    assert random.p_value == pytest.approx(exact.p_value, abs=0.015)
    monkeypatch.setattr("interfere.measures.permutation.CHUNK", 16 * 100)
    cut = sign_flip_test(values, clusters, permutations=2**14)
    assert cut.p_value == pytest.approx(exact.p_value, abs=0.015)


def test_random_deals_are_near_exact():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.5, 1, size=7), rng.normal(size=8)
    exact = two_sample_test(a, b, range(7), range(7, 15), permutations=6435)
    random = two_sample_test(a, b, range(7), range(7, 15), permutations=6000)
    assert (exact.exact, random.exact) == (True, False)
    assert random.p_value == pytest.approx(exact.p_value, abs=0.03)


def clustered(rng, shift=0.0):
    return shift + rng.normal(size=40)[CLUSTERS] + rng.normal(size=len(CLUSTERS))


def test_p_is_uniform_under_the_null_of_paired_differences():
    rng = np.random.default_rng(0)
    found = [
        sign_flip_test(clustered(rng)[None], CLUSTERS, permutations=199, seed=i).p_value
        for i in range(2000)
    ]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_p_is_uniform_under_the_null_of_two_samples():
    rng, first = np.random.default_rng(1), CLUSTERS < 15
    found = []
    for i in range(2000):
        x = clustered(rng)
        sides = x[first], x[~first], CLUSTERS[first], CLUSTERS[~first]
        found.append(two_sample_test(*sides, permutations=199, seed=i).p_value)
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_facts_taken_for_independent_would_not_be_uniform():
    """What clusters are for."""
    rng = np.random.default_rng(2)
    each = np.arange(len(CLUSTERS))
    found = [
        sign_flip_test(clustered(rng)[None], each, permutations=199, seed=i).p_value
        for i in range(400)
    ]
    assert (np.array(found) <= 0.05).mean() > 0.12


def test_an_effect_is_found():
    rng = np.random.default_rng(5)
    assert sign_flip_test(clustered(rng, 2.0)[None], CLUSTERS).p_value == 1e-4
    x, first = clustered(rng), CLUSTERS < 20
    x[first] += 3
    found = two_sample_test(x[first], x[~first], CLUSTERS[first], CLUSTERS[~first])
    assert found.p_value == 1e-4


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_blind_to_scale_sign_and_names(seed, scale):
    values = np.random.default_rng(seed).normal(size=(2, 120))
    plain = sign_flip_test(values, CLUSTERS, permutations=99)
    turned = sign_flip_test(-scale * values, [f"c{i}" for i in CLUSTERS], permutations=99)
    assert turned.p_value == plain.p_value
    assert turned.value == pytest.approx(-scale * plain.value)


def test_nothing_to_tell_apart_is_one():
    assert sign_flip_test(np.zeros((1, 120)), CLUSTERS).p_value == 1
    assert sign_flip_test(np.ones((1, 5)), ["a"] * 5).p_value == 1
    assert (
        two_sample_test(np.full(9, 0.1), np.full(7, 0.1), range(9), range(9, 16)).p_value
        == 1
    )


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="differences: the value of fact 2 isn't finite"):
        sign_flip_test(np.array([[0, 1, np.nan]]), list("abc"))
    with pytest.raises(InputError, match=r"a: expected a number a fact, got \(0,\)"):
        two_sample_test(np.zeros(0), np.zeros(2), [], list("ab"))
    with pytest.raises(InputError, match="'Chad' is in both samples; give sign_flip_test"):
        two_sample_test(np.zeros(2), np.zeros(1), ["Chad", "Mali"], ["Chad"])
    with pytest.raises(InputError, match="permutations must be at least 1, got 0"):
        sign_flip_test(np.zeros((1, 2)), list("ab"), permutations=0)
