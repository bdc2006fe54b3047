"""Holm's correction by hand, and against Bonferroni."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.holm import holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_by_hand():
    # 3 x .01; 2 x .03; 1 x .04, but no less than the one before
    assert holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])


@given(P_VALUES)
@settings(deadline=None)
def test_between_nothing_and_bonferroni(values):
    found, given_ = holm(values), np.array(values)
    assert (found >= given_).all()
    assert (found <= np.minimum(1, len(values) * given_) + 1e-12).all()


@given(P_VALUES, st.randoms())
@settings(deadline=None)
def test_follows_the_tests_wherever_they_stand(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    there = holm([values[i] for i in order])
    assert there.tolist() == pytest.approx(holm(values)[order].tolist())


def test_what_was_not_tested_does_not_count():
    found = holm([0.02, float("nan"), 0.5])
    assert found[[0, 2]].tolist() == pytest.approx([0.04, 0.5])
    assert np.isnan(found[1])


def test_one_true_null_among_all_is_rarely_rejected():
    rng = np.random.default_rng(0)
    wrong = [(holm(rng.uniform(size=8)) <= 0.05).any() for _ in range(2000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.015)


def test_no_p_value_is_refused():
    with pytest.raises(InputError, match=r"p-value 1 is 1\.2"):
        holm([0.1, 1.2])
