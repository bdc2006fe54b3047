"""Distances by answer: by hand, planted, and one where answers mean nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interfere.errors import InputError
from interfere.measures.answer_distance import answer_distance


def planted(seed: int, pull: float, facts: int = 120, answers: int = 40):
    """Old and new facts around a centre for each answer, as far out as `pull` says."""
    rng = np.random.default_rng(seed)
    centres = pull * rng.normal(size=(answers, 6))
    a, b = rng.integers(0, answers, facts), rng.integers(0, answers, facts)
    old, new = (centres[codes] + rng.normal(size=(facts, 6)) for codes in (a, b))
    return old, new, a, b


def on_a_line():
    return answer_distance(
        np.array([[0.0], [10], [50]]),
        np.array([[1.0], [3], [12]]),
        ["a", "b", "c"],
        ["a", "a", "b"],
        metric="euclidean",
    )


def test_by_hand_on_a_line():
    with (
        pytest.warns(UserWarning, match="interval is NaN: it needs more answers"),
        pytest.warns(UserWarning, match="new facts have 2 answers, and it needs 5"),
    ):
        found = on_a_line()
    assert np.isnan(found.permuted.p_value)
    assert found.same[:2].tolist() == [2, 2]
    assert np.isnan(found.same[2])
    assert found.other.tolist() == pytest.approx([12, 8, (49 + 47 + 38) / 3])
    assert found.ratio.value == pytest.approx(2 / 10)
    assert found.facts == 2


def test_answers_that_gather_facts_are_found():
    found = answer_distance(*planted(0, 2.0))
    assert found.ratio.value < 0.7
    assert found.ratio.shows
    assert found.ratio.null == 1
    assert found.permuted.p_value == pytest.approx(2 / 1000)
    assert found.permuted.mean == pytest.approx(1, abs=0.03)


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
def test_answers_that_mean_nothing_are_one():
    covered, p_values = [], []
    for seed in range(2000):
        found = answer_distance(*planted(seed, 0.0), permutations=99, resamples=400)
        covered.append(found.ratio.low <= 1 <= found.ratio.high)
        p_values.append(found.permuted.p_value)
    assert np.mean(covered) >= 0.85
    jittered = np.array(p_values) - np.random.default_rng(0).uniform(0, 0.02, size=2000)
    assert stats.kstest(jittered, "uniform").pvalue > 0.001


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
def test_facts_that_are_alike_within_their_set_are_no_evidence():
    """2,000 draws: facts of an answer gather, in each set elsewhere."""
    p_values = []
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        a, b = rng.integers(0, 20, 60), rng.integers(0, 20, 60)
        old, new = (
            2 * rng.normal(size=(20, 6))[codes] + rng.normal(size=(60, 6))
            for codes in (a, b)
        )
        found = answer_distance(old, new, a, b, permutations=99, resamples=2)
        p_values.append(found.permuted.p_value)
    jittered = np.array(p_values) - np.random.default_rng(0).uniform(0, 0.02, size=2000)
    assert stats.kstest(jittered, "uniform").pvalue > 0.001


@pytest.mark.slow
def test_intervals_cover_the_ratio_of_many_answers():
    whole = np.mean([answer_distance(*planted(s, 1.0, 2000, 400), permutations=1,
                                     resamples=10).ratio.value for s in range(5)])  # fmt: skip
    covered = [
        found.low <= whole <= found.high
        for found in (
            answer_distance(*planted(s, 1.0), permutations=1, resamples=400).ratio
            for s in range(200)
        )
    ]
    assert 0.88 <= np.mean(covered) <= 0.99


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_blind_to_scale_and_to_the_answers_names(seed, scale):
    old, new, a, b = planted(seed, 1.0, 40, 8)
    plain = answer_distance(old, new, a, b, metric="euclidean", permutations=19)
    named = answer_distance(
        scale * old + 3,
        scale * new + 3,
        [f"country {i}" for i in a],
        [f"country {i}" for i in b],
        metric="euclidean",
        permutations=19,
    )
    assert named.ratio.value == pytest.approx(plain.ratio.value)
    assert named.ratio.high == pytest.approx(plain.ratio.high)


def test_no_shared_answer_is_nan():
    old, new, a, b = planted(0, 1.0)
    with pytest.warns(
        UserWarning, match="at L1: answer distance is NaN: no old fact shares"
    ):
        found = answer_distance(old, new, a, b + 100, name="at L1")
    assert np.isnan([found.ratio.value, found.permuted.p_value]).all()
    assert found.facts == 0
    with pytest.warns(UserWarning, match="is NaN"):
        answer_distance(old, new, 0 * a, 0 * b)


def test_labels_that_do_not_match_are_refused():
    old, new, a, b = planted(0, 1.0)
    with pytest.raises(InputError, match="new answers: expected a label for each of 120"):
        answer_distance(old, new, a, b[1:])
