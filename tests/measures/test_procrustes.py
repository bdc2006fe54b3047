"""Procrustes distance against scipy, by hand, and as the square of a metric."""

import numpy as np
import pytest
from gaussian import changed, gaussian, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from interfere.errors import InputError
from interfere.measures.procrustes import procrustes


def normalised(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(0)
    return x / np.linalg.norm(x)


def test_two_crossing_halvings_by_hand():
    x, y = np.array([[1.0], [1], [-1], [-1]]), np.array([[1.0], [-1], [1], [-1]])
    assert procrustes(x, y).distance == pytest.approx(2)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (10, 10), (10, 40)])
def test_is_what_the_best_rotation_leaves(n, d):
    before, after = changed(0, n, d)
    x, y = normalised(np.hstack([before, np.zeros((n, 1))])), normalised(after)
    turn, _ = orthogonal_procrustes(x, y)
    left = np.square(x @ turn - y).sum()
    assert procrustes(before, after).distance == pytest.approx(left, abs=1e-10)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), d=st.sampled_from([3, 30]))
def test_blind_to_rotation_scale_shift_order(seed, scale, d):
    before, after = changed(seed, 15, d)
    expected = procrustes(before, after).distance
    order = np.random.default_rng(seed).permutation(15)
    turned = scale * (before @ rotation(seed, d) + 10)
    found = procrustes(turned[order], after[order]).distance
    assert found == pytest.approx(expected, abs=1e-9)
    assert procrustes(after, before).distance == pytest.approx(expected, abs=1e-12)
    assert procrustes(turned, before).distance == pytest.approx(0, abs=1e-9)
    assert 0 <= expected <= 2


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_its_root_meets_the_triangle_inequality(seed):
    x, y, z = (gaussian(seed + i, 12, 3) for i in range(3))
    xy, yz, xz = (procrustes(a, b).distance ** 0.5 for a, b in ((x, y), (y, z), (x, z)))
    assert xz <= xy + yz + 1e-9


def test_sees_what_stretches():
    x = gaussian(0, 40, 3)
    assert procrustes(x, x * [5, 1, 0.2]).distance > 0.1


def test_a_constant_side_is_nan():
    with pytest.warns(
        UserWarning, match="Procrustes distance is NaN: one side is constant"
    ):
        assert np.isnan(procrustes(np.full((9, 2), 1 / 3), gaussian(0, 9, 2)).distance)


def test_unlike_facts_are_refused():
    with pytest.raises(InputError, match=r"the Procrustes distance needs .* 9 and 8 rows"):
        procrustes(gaussian(0, 9, 2), gaussian(1, 8, 2))
