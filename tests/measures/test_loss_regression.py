"""Coefficients against least squares on repeated rows, and by what they are blind to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from interfere.measures.loss_regression import (
    NAMES,
    adjustment,
    before_columns,
    loss_on_predictors,
    rank_scores,
)

SEEDS = st.integers(0, 10**6)


def sample(seed: int, facts: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    before = -np.exp(rng.normal(size=facts))
    predictors = rng.normal(size=(2, facts)) - 0.5 * before
    control = 0.9 * before + 0.1 * rng.normal(size=facts)
    after = 1.4 * before - 0.5 * predictors[0] + rng.normal(size=facts)
    return {"before": before, "after": after, "control": control, "predictors": predictors}


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_is_least_squares_on_repeated_rows(seed):
    data = sample(seed)
    weights = np.random.default_rng(seed).integers(0, 4, size=(1, 60)).astype(float)
    times = weights[0].astype(int)
    found = dict(zip(NAMES, loss_on_predictors(**data, weights=weights)[0, 1], strict=True))
    columns = np.column_stack([before_columns(data["before"]), data["predictors"][1]])
    rows, loss = np.repeat(columns, times, 0), data["control"] - data["after"]
    for name, outcome in (
        ("arm", data["after"]),
        ("control", data["control"]),
        ("nats", loss),
    ):
        model = LinearRegression().fit(rows, np.repeat(outcome, times))
        assert found[name] == pytest.approx(model.coef_[-1] * rows[:, -1].std(), abs=1e-8)
    spread = np.repeat(loss, times).std()
    assert found["standardised"] == pytest.approx(found["nats"] / spread)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, scale=st.floats(0.1, 100), shift=st.floats(-1e3, 1e3))
def test_blind_to_shift_and_scale_of_a_predictor(seed, scale, shift):
    data, once = sample(seed), np.ones((1, 60))
    plain = loss_on_predictors(**data, weights=once)
    data["predictors"] = scale * data["predictors"] + shift
    np.testing.assert_allclose(loss_on_predictors(**data, weights=once), plain, atol=1e-6)


def test_turns_with_the_predictors_sign():
    data, once = sample(0), np.ones((1, 60))
    plain = loss_on_predictors(**data, weights=once)
    data["predictors"] = -data["predictors"]
    np.testing.assert_allclose(loss_on_predictors(**data, weights=once), -plain)


def test_what_both_arms_share_cancels():
    data, once = sample(0), np.ones((1, 60))
    plain = loss_on_predictors(**data, weights=once)[..., :2]
    shared = 3 * np.random.default_rng(9).normal(size=60)
    data["after"], data["control"] = data["after"] + shared, data["control"] + shared
    found = loss_on_predictors(**data, weights=once)[..., :2]
    np.testing.assert_allclose(found, plain, atol=1e-9)


def test_without_a_control_regression_to_the_mean_would_look_like_an_effect():
    """A noisy before-score and a predictor of true knowledge: the contrast stays at 0."""
    rng = np.random.default_rng(0)
    knows = rng.normal(size=4000)
    scores = knows + 0.5 * rng.normal(size=(3, 4000))
    found = loss_on_predictors(*scores, predictors=knows[None], weights=np.ones((1, 4000)))
    nats, arm = found[0, 0, 1], found[0, 0, 2]
    assert abs(nats) < 0.05
    assert arm > 0.5


def test_a_constant_and_a_function_of_the_before_score_are_nan():
    data, once = sample(0), np.ones((1, 60))
    ranks = rank_scores(data["before"])
    data["predictors"] = np.stack([np.full(60, 3.1), 2 * ranks**3 - data["before"]])
    assert np.isnan(loss_on_predictors(**data, weights=once)).all()


def test_a_constant_before_score_adjusts_for_nothing():
    data, once = sample(0), np.ones((1, 60))
    data["before"] = np.full(60, -0.5)
    assert adjustment(data["before"]).shape == (60, 1)
    x, loss = data["predictors"][0], data["control"] - data["after"]
    expected = np.corrcoef(x, loss)[0, 1]  # a slope in standard deviations
    assert loss_on_predictors(**data, weights=once)[0, 0, 0] == pytest.approx(expected)


def test_rank_scores_by_hand():
    assert rank_scores(np.array([5.0, 1, 5, 9])).tolist() == [0, -0.75, 0, 0.75]
