"""Drift by hand, its invariances, and small angles that cancellation would lose."""

import numpy as np
import pytest
import torch
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

from interfere.errors import InputError
from interfere.measures.drift import drift


def test_right_angle_doubling_and_reversal_by_hand():
    before = np.array([[3.0, 0], [0, 2], [1, 1]])
    after = np.array([[0.0, 3], [0, 4], [-1, -1]])
    moved = drift(before, after)
    assert moved.drift == pytest.approx([1, 0, 2])
    assert moved.cosine == pytest.approx([0, 1, -1])
    assert moved.relative_norm == pytest.approx([0, 1, 0])
    assert moved.displacement == pytest.approx([np.sqrt(2), 1, 2])


def test_is_scipys_cosine_distance():
    x, y = gaussian(0, 30, 8), gaussian(1, 30, 8)
    expected = [distance.cosine(a, b) for a, b in zip(x, y, strict=True)]
    assert drift(x, y).drift == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_blind_to_one_rotation_and_to_rescaling(seed, scale):
    x, y = gaussian(seed, 7, 4), gaussian(seed + 1, 7, 4)
    q, _ = np.linalg.qr(gaussian(seed + 2, 4, 4))
    plain, turned = drift(x, y), drift(x @ q, y @ q)
    assert turned.drift == pytest.approx(plain.drift, abs=1e-9)
    assert turned.displacement == pytest.approx(plain.displacement, rel=1e-9)
    assert turned.relative_norm == pytest.approx(plain.relative_norm, abs=1e-9)
    assert drift(scale * x, y).drift == pytest.approx(plain.drift, abs=1e-9)
    assert drift(scale * x, scale * y).displacement == pytest.approx(plain.displacement)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_in_range_and_symmetric(seed):
    x, y = gaussian(seed, 7, 2), gaussian(seed + 1, 7, 2)
    there, back = drift(x, y), drift(y, x)
    assert ((there.drift >= 0) & (there.drift <= 2 + 1e-12)).all()
    assert there.drift == pytest.approx(back.drift, abs=1e-12)
    assert (1 + there.relative_norm) * (1 + back.relative_norm) == pytest.approx(np.ones(7))


def test_small_angles_keep_their_digits():
    angle = 1e-7
    moved = drift(np.array([[1.0, 0]]), np.array([[np.cos(angle), np.sin(angle)]]))
    assert moved.drift[0] == pytest.approx(angle**2 / 2, rel=1e-6)


def test_equal_bfloat16_activations_have_not_moved():
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    moved = drift(x, x.clone())
    assert not moved.drift.any()
    assert not moved.displacement.any()


def test_zero_activation_is_nan():
    x, y = np.ones((3, 2)), np.ones((3, 2))
    y[1] = 0
    with pytest.warns(UserWarning, match="NaN: the activation of fact 1 is zero"):
        moved = drift(x, y)
    assert np.isnan(moved.drift).tolist() == [False, True, False]
    assert np.isnan(moved.relative_norm).tolist() == [False, True, False]


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"twice, got \(3, 2\) and \(3, 4\)"):
        drift(np.ones((3, 2)), np.ones((3, 4)))
