"""Overlap and distance of single facts: planted, by hand, and by what they are blind to."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.fact_overlap import fact_overlap, new_distance

SEEDS = st.integers(0, 10**6)


def planted(seed: int = 0):
    """Old facts half along the new facts' two directions, half along the control's two."""
    rng = np.random.default_rng(seed)
    old = np.zeros((40, 8))
    old[:20, :2], old[20:, 2:4] = rng.normal(size=(2, 20, 2))
    new, control = np.zeros((60, 8)), np.zeros((30, 8))
    new[:, :2], control[:, 2:4] = rng.normal(size=(60, 2)), rng.normal(size=(30, 2))
    # Centred halves, so that each old fact stays where it was planted.
    for half in (old[:20], old[20:]):
        half -= half.mean(0)
    return old, new, control


def test_planted_overlap_is_1_and_minus_1():
    found = fact_overlap(*planted(), rank=2)
    assert found[:20] == pytest.approx(1)
    assert found[20:] == pytest.approx(-1)


def test_is_a_projection_term_by_term():
    old, new, control = gaussian(0, 9, 5), gaussian(1, 30, 5), gaussian(2, 30, 5)
    found = fact_overlap(old, new, control, rank=2)
    z = old - old.mean(0)
    inside = []
    for rows in (new, control):
        u = np.linalg.svd(rows - rows.mean(0))[2][:2].T
        inside.append(np.square(z @ u @ u.T).sum(1))
    assert found == pytest.approx((inside[0] - inside[1]) / np.square(z).sum(1))


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS, scale=st.floats(0.01, 100))
def test_blind_to_one_rotation_and_to_each_sets_shift_and_scale(seed, scale):
    sets = [gaussian(seed + i, 40 - 5 * i, 6) for i in range(3)]
    plain = fact_overlap(*sets, rank=2)
    q = np.linalg.qr(gaussian(seed + 3, 6, 6))[0]
    moved = [(scale * (i + 1)) * x @ q + 10 * i for i, x in enumerate(sets)]
    assert fact_overlap(*moved, rank=2) == pytest.approx(plain, abs=1e-6)
    assert (np.abs(plain) <= 1).all()


def test_not_blind_to_a_rotation_of_one_set():
    old, new, control = planted()
    turned = np.roll(new, 2, axis=1)
    assert fact_overlap(old, turned, control, rank=2)[:20] == pytest.approx(0, abs=1e-9)


def test_sets_of_unlike_size_are_cut_to_one():
    """More rows estimate a subspace better; here both sets have the same one."""
    old, big = gaussian(0, 300, 30), gaussian(1, 2000, 30)
    lean = np.linspace(3, 1, 30)
    found = fact_overlap(old * lean, big * lean, gaussian(2, 40, 30) * lean, rank=5)
    assert abs(found.mean()) < 0.02


def test_swapping_new_and_control_turns_the_sign():
    old, new, control = (gaussian(i, 30, 5) for i in range(3))
    there = fact_overlap(old, new, control, rank=2)
    assert fact_overlap(old, control, new, rank=2) == pytest.approx(-there)


def test_a_fact_at_the_mean_is_nan():
    old, new, control = planted()
    old[5] = 0
    others = np.arange(20) != 5
    old[:20][others] -= old[:20][others].mean(0)
    with pytest.warns(UserWarning, match="NaN: fact 5 lies at"):
        found = fact_overlap(old, new, control, rank=2)
    assert np.isnan(found).sum() == 1


def test_too_few_directions_are_nan():
    old, new, control = planted()
    with pytest.warns(UserWarning, match="fewer than 3 directions"):
        assert np.isnan(fact_overlap(old, new, control, rank=3)).all()


def test_refused():
    old, new, control = planted()
    with pytest.raises(InputError, match=r"old 8, new 7, control 8"):
        fact_overlap(old, new[:, 1:], control, rank=2)
    with pytest.raises(InputError, match="rank must be from 1 to 7"):
        fact_overlap(old, new, control, rank=8)
    new[3, 1] = np.nan
    with pytest.raises(InputError, match="here, new: fact 3 has a NaN"):
        fact_overlap(old, new, control, rank=2, name="here")


def test_distance_by_hand():
    old = np.array([[0.0, 0], [2, 0]])  # 1 from their mean, each
    new = np.array([[0.0, 1], [0, 3], [9, 0]])
    assert new_distance(old, new, neighbours=2) == pytest.approx(
        [2, (5**0.5 + 13**0.5) / 2]
    )
    assert new_distance(old, old, neighbours=1) == pytest.approx([0, 0])


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS, scale=st.floats(0.01, 100), shift=st.floats(-1e3, 1e3))
def test_distance_blind_to_one_rotation_scale_and_shift(seed, scale, shift):
    old, new = gaussian(seed, 20, 4), gaussian(seed + 1, 30, 4)
    q = np.linalg.qr(gaussian(seed + 2, 4, 4))[0]
    moved = [scale * x @ q + shift for x in (old, new)]
    plain = new_distance(old, new, neighbours=3)
    assert new_distance(*moved, neighbours=3) == pytest.approx(plain, rel=1e-6)
    assert (new_distance(old, new + 5, neighbours=3) > plain).any()


def test_distance_refused_or_nan():
    old, new = gaussian(0, 20, 4), gaussian(1, 5, 4)
    with pytest.raises(InputError, match=r"from 1 to 5, .* got 6"):
        new_distance(old, new, neighbours=6)
    with pytest.raises(InputError, match="old 4, new 3"):
        new_distance(old, new[:, 1:])
    with pytest.warns(UserWarning, match="old facts are all alike"):
        assert np.isnan(new_distance(np.ones((5, 4)), new, neighbours=1)).all()
