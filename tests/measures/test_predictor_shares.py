"""Shares add up, go to what acts, and are the same by every way of reckoning them."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from interfere.measures import predictor_shares as module
from interfere.measures.predictor_shares import (
    held_out_loss,
    held_out_scores,
    predictor_shares,
)

FACTS, ANSWERS = 240, np.repeat(np.arange(40), 6)


def sample(seed: int = 0, seeds: int = 1):
    """Base column, three predictors (acts, stands in for it, noise), score and event."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(seeds, FACTS, 1))
    acts, noise = rng.normal(size=(2, seeds, FACTS))
    twin = acts + 0.3 * rng.normal(size=(seeds, FACTS))
    score = base[..., 0] + acts + rng.normal(size=(seeds, FACTS))
    event = (score + rng.normal(size=(seeds, FACTS)) > 0).astype(float)
    return base, np.stack([acts, twin, noise], axis=-1), score, event


@pytest.mark.parametrize("kind", ["score", "event"])
def test_shares_add_up_and_go_to_what_acts(kind):
    base, predictors, score, event = sample(seeds=2)
    outcome = score if kind == "score" else event
    found = predictor_shares(base, predictors, outcome, ANSWERS, kind=kind, resamples=400)
    acts, twin, noise = found.shapley
    total = acts.value + twin.value + noise.value
    assert total == pytest.approx(found.explained.value)
    assert found.explained.low > 0.1
    assert acts.value > twin.value > 0.05
    assert abs(noise.value) < 0.02
    # The twin stands in for what acts, so leaving it out costs nothing.
    assert abs(found.dropped[1].value) < 0.02
    assert found.dropped[0].value < acts.value


def test_shapley_is_the_mean_over_orders():
    base, predictors, score, _ = sample()
    found = predictor_shares(base, predictors, score, ANSWERS, kind="score", resamples=50)

    def loss(chosen):
        columns = np.concatenate([base, predictors[..., sorted(chosen)]], axis=2)
        return held_out_loss(columns, score, ANSWERS, kind="score", folds=5).mean()

    gains = np.zeros(3)
    for order in permutations(range(3)):
        for place, one in enumerate(order):
            gains[one] += (loss(order[:place]) - loss(order[: place + 1])) / 6
    values = [share.value for share in found.shapley]
    assert values == pytest.approx((gains / loss(())).tolist())


def test_sampled_orders_come_near_the_exact_value(monkeypatch):
    base, predictors, score, _ = sample()
    options = {"kind": "score", "resamples": 50}
    exact = predictor_shares(base, predictors, score, ANSWERS, **options)
    monkeypatch.setattr(module, "MOST", 0)
    sampled = predictor_shares(base, predictors, score, ANSWERS, **options)
    for one, other in zip(exact.shapley, sampled.shapley, strict=True):
        assert other.value == pytest.approx(one.value, abs=0.02)
    total = sum(share.value for share in sampled.shapley)
    assert total == pytest.approx(exact.explained.value)


def test_deviance_is_scikit_learns_on_answers_that_were_left_out():
    base, _, _, event = sample()
    found = held_out_loss(base, event, ANSWERS, kind="event", folds=40)[0]
    own = ANSWERS == 7
    model = LogisticRegression(C=1.0).fit(base[0, ~own], event[0, ~own])
    expected = 2 * log_loss(event[0, own], model.predict_proba(base[0, own])[:, 1])
    assert found[own].mean() == pytest.approx(expected, rel=1e-3)


def test_a_label_for_each_answer_teaches_nothing_about_other_answers():
    """Ordinary folds would call this column a perfect predictor."""
    rng = np.random.default_rng(1)
    of_answer = rng.normal(size=40)[ANSWERS][None]
    labels = np.eye(40)[ANSWERS][None]
    nothing = np.zeros((1, FACTS, 1))
    blind = held_out_loss(nothing, of_answer, ANSWERS, kind="score", folds=5).mean()
    told = held_out_loss(labels, of_answer, ANSWERS, kind="score", folds=5).mean()
    leaky = held_out_loss(labels, of_answer, np.arange(FACTS), kind="score", folds=5).mean()
    assert told > 0.99 * blind
    assert leaky < 0.1 * blind


def test_scores_leave_the_intercept_out():
    """With it, folds rich in events would be ranked below the others."""
    base, _, _, event = sample()
    scores = held_out_scores(base, event, ANSWERS, folds=5)
    slopes = scores[0] / base[0, :, 0]
    assert (slopes > 0).all()
    assert len(np.unique(slopes.round(9))) == 5


def test_one_outcome_only_is_nan():
    base, predictors, _, event = sample()
    event[:] = 0
    event[0, :3] = 1  # in one answer
    with pytest.warns(UserWarning, match="shares are NaN"):
        found = predictor_shares(base, predictors, event, ANSWERS, kind="event")
    assert np.isnan([found.explained.value, found.shapley[2].low]).all()
