"""The common shift by hand, by a loop, and what it is blind to."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.measures.common_shift import common_shift


def test_by_hand():
    moved = np.array([[1.0], [3], [8], [10], [20]])
    found = common_shift(moved, ["a", "a", "a", "b", "b"])
    assert found[:, 0] == pytest.approx([5.5, 4.5, 2, 20, 10])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(-10, 10))
def test_linear_moves_with_a_shift_and_is_blind_to_order(seed, scale):
    x, v = gaussian(seed, 9, 4), gaussian(seed + 1, 4)
    labels = np.array(list("aabbbcccc"))
    plain = common_shift(x, labels)
    order = np.random.default_rng(seed).permutation(9)
    assert common_shift(scale * x + v, labels) == pytest.approx(scale * plain + v)
    assert common_shift(x[order], labels[order]) == pytest.approx(plain[order])
    q, _ = np.linalg.qr(gaussian(seed + 2, 4, 4))
    assert common_shift(x @ q, labels) == pytest.approx(plain @ q)


def test_is_the_mean_of_the_others_in_a_loop():
    x, labels = gaussian(0, 30, 5), list("abc" * 10)
    for i, label in enumerate(labels):
        others = [j for j in range(30) if j != i and labels[j] == label]
        assert common_shift(x, labels)[i] == pytest.approx(x[others].mean(0))


def test_a_facts_own_movement_is_no_part_of_its_shift():
    x, labels = gaussian(0, 10, 3), ["a"] * 10
    y = x.copy()
    y[4] += 100
    assert common_shift(y, labels)[4] == pytest.approx(common_shift(x, labels)[4])
    assert not np.allclose(common_shift(y, labels)[5], common_shift(x, labels)[5])


def test_planted_common_and_planted_residual():
    v = gaussian(1, 64)
    assert common_shift(np.tile(v, (400, 1)), ["a"] * 400) == pytest.approx(
        np.tile(v, (400, 1))
    )
    alone = gaussian(2, 400, 64)  # each fact its own way
    size = np.linalg.norm(common_shift(alone, ["a"] * 400), axis=1)
    assert (size < 0.1 * np.linalg.norm(alone, axis=1)).all()
