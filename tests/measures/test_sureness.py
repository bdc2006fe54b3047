"""Sureness of right and wrong answers, and confident errors: by hand and covered."""

import numpy as np
import pytest

from interfere.errors import InputError
from interfere.measures.sureness import confident_errors, sureness

ANSWERS = np.repeat(np.arange(60), 4)


def drawn(seed: int):
    """Wrong answers are .1 surer after; right ones as sure as before."""
    rng = np.random.default_rng(seed)
    right = rng.random((2, 240)) < 0.6
    base = np.where(right, 0.7, [[0.3], [0.4]])
    shared = rng.normal(0, 0.05, size=60)[ANSWERS]
    return base + shared + rng.normal(0, 0.05, size=(2, 240)), right


def test_by_hand():
    before, after = np.array([0.9, 0.5, 0.2, 0.6]), np.array([0.8, 0.9, 0.4, 0.1])
    right_before = np.array([True, True, False, False])
    right_after = np.array([True, False, False, True])
    with pytest.warns(
        UserWarning, match="answers is NaN: too few .* right, 2 before and 2"
    ):
        table = sureness(before, after, right_before, right_after, range(4))
    table = table.set_index("answers")
    assert table["before"].to_dict() == pytest.approx({"right": 0.7, "wrong": 0.4})
    assert table["after"].to_dict() == pytest.approx({"right": 0.45, "wrong": 0.65})
    assert table["change"].to_dict() == pytest.approx({"right": -0.25, "wrong": 0.25})
    assert table.loc["wrong", ["facts_before", "facts_after"]].tolist() == [2, 2]


def test_a_planted_rise_is_found_and_covered():
    covered = shown = 0
    for seed in range(200):
        values, right = drawn(seed)
        table = sureness(*values, *right, ANSWERS, resamples=300, seed=seed)
        wrong = table.set_index("answers").loc["wrong"]
        covered += wrong["change_low"] <= 0.1 <= wrong["change_high"]
        shown += wrong["change_low"] > 0
    assert covered / 200 == pytest.approx(0.95, abs=0.045)
    assert shown == 200


def test_before_and_after_turned_round():
    values, right = drawn(0)
    there = sureness(*values, *right, ANSWERS, resamples=50)
    back = sureness(*values[::-1], *right[::-1], ANSWERS, resamples=50)
    assert back["change"].tolist() == pytest.approx((-there["change"]).tolist())
    assert back["change_low"].tolist() == pytest.approx((-there["change_high"]).tolist())


def test_no_wrong_answers_are_nan():
    values, _ = drawn(0)
    right = np.ones((2, 240), bool)
    with pytest.warns(UserWarning, match="wrong answers is NaN: .* 0 before and 0 after"):
        table = sureness(*values, *right, ANSWERS, resamples=50)
    wrong = table.set_index("answers").loc["wrong"]
    assert wrong[["before", "after", "change", "change_low"]].isna().all()


def test_confident_errors_by_hand():
    before = np.array([True, True, True, True, False])
    after = np.array([True, False, False, False, False])
    sure = np.array([0.9, 0.9, 0.5, 0.4, 0.9])
    found = confident_errors(before, after, sure, range(5))
    assert found.count == 2
    assert found.share.value == pytest.approx(2 / 5)
    assert found.of_lost == pytest.approx(2 / 3)
    assert confident_errors(before, after, sure, range(5), threshold=0.6).count == 1


def test_confident_errors_are_covered():
    share = of_lost = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        lost = rng.random(240) < 0.4
        sure = np.where(rng.random(240) < 0.5, 0.9, 0.1)
        found = confident_errors(
            np.ones(240, bool), ~lost, sure, ANSWERS, resamples=300, seed=seed
        )
        share += found.share.low <= 0.2 <= found.share.high
        of_lost += found.of_lost_low <= 0.5 <= found.of_lost_high
    assert share / 200 == pytest.approx(0.95, abs=0.045)
    assert of_lost / 200 == pytest.approx(0.95, abs=0.045)


def test_nothing_lost_has_no_share():
    right = np.ones(240, bool)
    found = confident_errors(right, right, np.full(240, 0.9), ANSWERS, resamples=50)
    assert (found.count, found.share.value) == (0, 0)
    assert np.isnan([found.of_lost, found.of_lost_low]).all()


def test_bad_input_is_refused():
    right = np.ones(3, bool)
    with pytest.raises(InputError, match="got before 3, after 2, right_before 3"):
        sureness(np.zeros(3), np.zeros(2), right, right, range(3))
    with pytest.raises(InputError, match="after: the value of fact 1 isn't finite"):
        sureness(np.zeros(3), np.array([0, np.nan, 0]), right, right, range(3))
    with pytest.raises(InputError, match=r"a value lies outside \[0, 1\]"):
        confident_errors(right, right, np.array([0.5, np.nan, 0.5]), range(3))
