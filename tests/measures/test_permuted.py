"""Where a value lies among permuted ones, by hand and uniformly under the null."""

import numpy as np
import pytest
from scipy import stats

from interfere.errors import InputError
from interfere.measures.permuted import against_permuted, can_be_dealt, dealt_anew


def test_by_hand():
    found = against_permuted(9.0, np.arange(1.0, 20))  # 9 of 19 below, 11 at least as large
    assert found.mean == 10
    assert found.p_value == pytest.approx(2 * 10 / 20)
    assert against_permuted(25.0, np.arange(1.0, 20)).p_value == pytest.approx(2 / 20)
    assert against_permuted(-3.0, np.arange(1.0, 20)).p_value == pytest.approx(2 / 20)
    assert (found.low, found.high) == pytest.approx((1.45, 18.55))


def test_equal_up_to_rounding_is_equal():
    assert against_permuted(0.1 + 0.2, np.full(99, 0.3)).p_value == 1


def test_p_values_are_uniform():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 200))
    p_values = [against_permuted(float(d[0]), d[1:]).p_value for d in draws]
    jittered = np.array(p_values) - rng.uniform(0, 0.01, size=2000)  # they are multiples
    assert stats.kstest(jittered, "uniform").pvalue > 0.01


def test_answers_of_both_sets_keep_their_counts_and_others_move_as_a_whole():
    """Two answers of both sets, four of one set each, and one of a size of its own."""
    answers = np.repeat(np.arange(7), [4, 4, 4, 4, 4, 4, 2])
    is_new = np.array([0, 0, 0, 1, 0, 1, 1, 1] + [0] * 8 + [1] * 10, dtype=bool)
    generator, deals = np.random.default_rng(0), set()
    for _ in range(300):
        found = dealt_anew(is_new, answers, generator)
        counts = np.bincount(answers, found)
        assert counts[:2].tolist() == [1, 3]
        assert sorted(counts[2:6]) == [0, 0, 4, 4]
        assert counts[6] == 2
        deals.add(found.tobytes())
    assert len(deals) > 4 * 4 * 6 * 0.9, "each of the 4 · 4 · 6 deals comes up"


def test_facts_of_their_own_are_dealt_one_by_one():
    generator = np.random.default_rng(0)
    is_new = np.arange(5) < 2
    found = {
        tuple(np.flatnonzero(dealt_anew(is_new, np.arange(5), generator)))
        for _ in range(400)
    }
    assert len(found) == 10


def test_too_few_deals_say_nothing():
    is_new = np.arange(8) >= 4
    assert can_be_dealt(is_new, np.arange(8), "x")  # 70 ways
    assert can_be_dealt(is_new, np.repeat(0, 8), "x")
    with pytest.warns(UserWarning, match="x: what mixed labels .* in 6 ways only"):
        assert not can_be_dealt(is_new, np.repeat(np.arange(4), 2), "x")
    with pytest.warns(UserWarning, match="in 2 ways only"):
        assert not can_be_dealt(is_new, np.repeat([0, 1], 4), "x")


def test_nan_and_nothing():
    assert np.isnan(against_permuted(float("nan"), np.zeros(3)).p_value)
    assert np.isnan(against_permuted(0.0, np.array([1, np.nan])).mean)
    with pytest.raises(InputError, match="permutations must be 1 or more"):
        against_permuted(0.0, np.empty(0))
