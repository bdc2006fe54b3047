"""Old facts as if new are at 1, the control as if new at 0."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.overlap_null import overlap_null
from interfere.measures.subspace_overlap import subspace_overlap

SCALE = 1 / np.sqrt(np.arange(1, 17))


OLD, CONTROL = gaussian(0, 180, 16) * SCALE, gaussian(1, 80, 16) * SCALE[::-1]


def test_nothing_new_is_one_and_foreign_is_nought():
    null = overlap_null(OLD, CONTROL, rank=4)
    assert null.as_old.shape == null.as_control.shape == (40,)
    assert null.as_old.mean() == pytest.approx(1, abs=0.05)
    assert null.as_control.mean() == pytest.approx(0, abs=0.05)
    assert null.as_old.std() > 0.01


def test_the_overlap_itself_lies_among_the_draws_only_where_nothing_is_new():
    null = overlap_null(OLD, CONTROL, rank=4)
    kin = subspace_overlap(OLD, gaussian(2, 60, 16) * SCALE, CONTROL, rank=4)
    foreign = subspace_overlap(OLD, gaussian(3, 60, 16) * SCALE[::-1], CONTROL, rank=4)
    between = np.roll(SCALE, 3) * gaussian(4, 60, 16)
    halfway = subspace_overlap(OLD, between, CONTROL, rank=4)
    assert null.as_old.min() < kin.overlap < null.as_old.max()
    assert null.as_control.min() < foreign.overlap < null.as_control.max()
    assert null.as_control.max() < halfway.overlap < null.as_old.min()


def test_fewer_rows_spread_further():
    many = overlap_null(OLD, CONTROL, rank=4)
    few = overlap_null(OLD, CONTROL, rank=4, rows=12)
    assert few.as_old.std() > many.as_old.std()


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_blind_to_one_rotation_scaling_and_shift(seed, scale):
    q = np.linalg.qr(gaussian(seed, 16, 16)).Q
    plain = overlap_null(OLD, CONTROL, rank=4, draws=3)
    moved = overlap_null(scale * OLD @ q + 3, scale * CONTROL @ q + 3, rank=4, draws=3)
    assert moved.as_old == pytest.approx(plain.as_old, abs=1e-7)
    assert moved.as_control == pytest.approx(plain.as_control, abs=1e-7)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="at L1: old facts have 16 dimensions and the co"):
        overlap_null(OLD, CONTROL[:, :9], rank=4, name="at L1")
    with pytest.raises(InputError, match="rank must be from 1 to 3 for 4 rows, got 4"):
        overlap_null(OLD, CONTROL[:8], rank=4)
