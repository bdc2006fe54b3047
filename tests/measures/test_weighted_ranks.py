"""Weights stand for copies: the same as scipy and scikit-learn on rows repeated so often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from interfere.measures.weighted_ranks import (
    auc,
    correlation,
    midranks,
    partial_correlation,
)

SEEDS = st.integers(0, 10**6)


def sample(seed: int, facts: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values with ties, an event, and how often each fact counts."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 12, size=facts).astype(float)
    event = values + rng.normal(scale=6, size=facts) > 6
    event[:2] = True, False
    weights = rng.integers(0, 4, size=facts).astype(float)
    weights[:2] = 1
    return values, event, weights


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_ranks_are_scipys_of_repeated_rows(seed):
    values, _, weights = sample(seed)
    times = weights.astype(int)
    expected = stats.rankdata(np.repeat(values, times))
    found = midranks(values, weights[None])[0]
    assert np.repeat(found, times).tolist() == expected.tolist()


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_auc_is_scikit_learns_of_weighted_rows(seed):
    values, event, weights = sample(seed)
    expected = roc_auc_score(event, values, sample_weight=weights)
    assert auc(values, event, weights[None])[0] == pytest.approx(expected)


def test_auc_by_hand():
    score, event = np.array([1.0, 2, 3, 3]), np.array([False, True, False, True])
    # of four pairs: 2 > 1, 2 < 3, 3 > 1, 3 = 3
    assert auc(score, event, np.ones((1, 4)))[0] == 2.5 / 4


def test_auc_of_one_kind_is_nan():
    event = np.array([True, False])
    assert np.isnan(auc(np.array([1.0, 2]), event, np.array([[1.0, 0]])))[0]


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_auc_blind_to_rising_functions_and_turned_by_a_falling_one(seed):
    values, event, weights = sample(seed)
    plain = auc(values, event, weights[None])
    assert auc(np.exp(values) - 7, event, weights[None]) == pytest.approx(plain)
    assert auc(-values, event, weights[None]) == pytest.approx(1 - plain)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_correlation_is_numpys_of_repeated_rows(seed):
    a, _, weights = sample(seed)
    b = a + np.random.default_rng(seed).normal(size=len(a))
    times = weights.astype(int)
    expected = np.corrcoef(np.repeat(a, times), np.repeat(b, times))[0, 1]
    found = correlation(a[None], b[None], weights[None])[0]
    assert found == pytest.approx(expected)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_partial_is_the_correlation_of_residuals_of_repeated_rows(seed):
    a, _, weights = sample(seed)
    rng = np.random.default_rng(seed)
    columns = np.column_stack([np.ones(len(a)), a + rng.normal(size=len(a)), a**2])
    b = columns[:, 1] + rng.normal(size=len(a))
    repeated = np.repeat(np.arange(len(a)), weights.astype(int))
    fits = [LinearRegression().fit(columns[repeated], x[repeated]) for x in (a, b)]
    residuals = [
        x[repeated] - fit.predict(columns[repeated])
        for x, fit in zip((a, b), fits, strict=True)
    ]
    expected = np.corrcoef(*residuals)[0, 1]
    found = partial_correlation(a[None], b[None], columns, weights[None])[0]
    assert found == pytest.approx(expected)


def test_partial_given_oneself_is_nan():
    a, b = np.random.default_rng(0).normal(size=(2, 30))
    columns, once = np.column_stack([np.ones(30), 2 * a - 1]), np.ones((1, 30))
    assert np.isnan(partial_correlation(a[None], b[None], columns, once)[0])
    assert np.isnan(partial_correlation(b[None], a[None], columns, once)[0])
