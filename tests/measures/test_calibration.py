"""Calibration: by hand, against scikit-learn, and near 0 for a calibrated model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from interfere.errors import InputError
from interfere.measures.calibration import calibration

ANSWERS = np.repeat(np.arange(100), 4)


def drawn(seed: int, *, bend: float = 1.0, facts: int = 400):
    """Confidences, and outcomes right with probability confidence ** bend."""
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 1, size=facts)
    return p, rng.random(facts) < p**bend


def test_by_hand():
    p = np.array([0.6, 0.8, 0.1, 0.3])
    y = np.array([True, False, False, False])
    found = calibration(p, y, range(4), bins=2, equal="width")
    table = found.bins
    assert table["facts"].tolist() == [2, 2]
    assert table["confidence"].tolist() == pytest.approx([0.2, 0.7])
    assert table["accuracy"].tolist() == [0, 0.5]
    assert found.ece == pytest.approx(0.5 * 0.2 + 0.5 * 0.2)
    assert found.squared_debiased == pytest.approx(0.5 * 0.04 + 0.5 * (0.04 - 0.25))
    assert found.brier.value == pytest.approx((0.16 + 0.64 + 0.01 + 0.09) / 4)
    assert found.overconfidence.value == pytest.approx(0.45 - 0.25)


@pytest.mark.parametrize(
    ("equal", "strategy"), [("facts", "quantile"), ("width", "uniform")]
)
def test_is_scikit_learns_curve(equal, strategy):
    p, y = drawn(0, bend=2)
    found = calibration(p, y, ANSWERS, bins=8, equal=equal)
    accuracy, confidence = calibration_curve(y, p, n_bins=8, strategy=strategy)
    assert found.bins["accuracy"].to_numpy() == pytest.approx(accuracy)
    assert found.bins["confidence"].to_numpy() == pytest.approx(confidence)
    assert found.brier.value == pytest.approx(brier_score_loss(y, p))
    gaps = np.abs(accuracy - confidence)
    assert found.ece == pytest.approx((found.bins["facts"] / 400 * gaps).sum())


def test_the_debiased_forms_are_the_papers_term_by_term():
    p, y = drawn(1, bend=1.5)
    found = calibration(p, y, ANSWERS, bins=10)
    rng, square, folded = np.random.default_rng(0), 0.0, 0.0
    for row in found.bins.itertuples():
        share, a, n = row.facts / 400, row.accuracy, row.facts
        square += share * ((row.confidence - a) ** 2 - a * (1 - a) / (n - 1))
        again = rng.normal(a, np.sqrt(a * (1 - a) / n), size=200_000)
        folded += share * np.abs(again - row.confidence).mean()
    assert found.squared_debiased == pytest.approx(square)
    assert found.ece_debiased == pytest.approx(found.ece - (folded - found.ece), abs=5e-4)


def test_debiasing_takes_off_what_a_calibrated_model_seems_to_miss():
    many = [calibration(*drawn(i), ANSWERS, resamples=10) for i in range(200)]
    plain, debiased = (
        np.mean([getattr(c, n) for c in many]) for n in ("ece", "ece_debiased")
    )
    assert plain > 0.04
    assert 0 < debiased < 0.65 * plain  # a normal's |gap| tells no more
    squares = [c.squared_debiased for c in many]
    assert np.mean(squares) == pytest.approx(0, abs=3 * np.std(squares) / np.sqrt(200))
    assert min(squares) < 0, "a clamped value would be biased upward"


def test_a_planted_miscalibration_is_found_and_covered():
    p = np.tile([0.9, 0.6], 200)
    covered = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        y = rng.random(400) < np.tile([0.6, 0.5], 200)
        found = calibration(p, y, range(400), resamples=300, seed=seed)
        covered += found.ece_low <= 0.2 <= found.ece_high
    assert covered / 150 == pytest.approx(0.95, abs=0.05)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), equal=st.sampled_from(["facts", "width"]))
def test_blind_to_the_facts_order_and_within_range(seed, equal):
    p, y = drawn(seed)
    order = np.random.default_rng(seed).permutation(400)
    plain = calibration(p, y, ANSWERS, bins=5, equal=equal, resamples=10)
    mixed = calibration(
        p[order], y[order], ANSWERS[order], bins=5, equal=equal, resamples=10
    )
    assert mixed.ece == pytest.approx(plain.ece)
    assert mixed.squared_debiased == pytest.approx(plain.squared_debiased)
    assert 0 <= plain.ece <= 1
    assert plain.ece_debiased <= plain.ece
    assert plain.bins["facts"].sum() == plain.facts == 400


def test_facts_of_one_confidence_share_a_bin():
    p = np.full(400, 0.7)
    found = calibration(p, np.arange(400) < 200, ANSWERS)
    assert len(found.bins) == 1
    assert found.ece == pytest.approx(0.2)


def test_a_bin_of_one_fact_has_no_debiased_form():
    p, y = np.append(np.full(399, 0.9), 0.1), np.ones(400, bool)
    with pytest.warns(UserWarning, match="NaN: a bin holds one fact; ask for fewer bins"):
        found = calibration(p, y, ANSWERS, equal="width")
    assert np.isnan([found.ece_debiased, found.squared_debiased, found.ece_low]).all()
    assert found.ece == pytest.approx(399 / 400 * 0.1 + 0.9 / 400)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="an outcome a fact, got 2 and 3"):
        calibration(np.zeros(2), np.zeros(3, bool), [])
    with pytest.raises(InputError, match=r"confidence of fact 1 is 1.5, outside \[0, 1\]"):
        calibration(np.array([0.5, 1.5]), np.zeros(2, bool), list("ab"))
    with pytest.raises(InputError, match="confidence of fact 0 is nan"):
        calibration(np.array([np.nan, 0.5]), np.zeros(2, bool), list("ab"))
    with pytest.raises(InputError, match="bins must be at least 1, got 0"):
        calibration(np.zeros(2), np.zeros(2, bool), list("ab"), bins=0)
