"""Ranks by hand, against numpy, and through the factors of a low-rank matrix."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interfere.errors import InputError
from interfere.measures.spectra import LowRank, spectrum


def test_ranks_by_hand():
    found = spectrum(np.diag([3.0, 1]))
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert found.effective_rank == pytest.approx(np.exp(entropy))
    assert found.stable_rank == pytest.approx(10 / 9)
    assert found.top_share == pytest.approx(9 / 10)
    assert found.norm == pytest.approx(np.sqrt(10))


def test_equal_directions_count_each():
    q = np.linalg.qr(gaussian(0, 9, 5))[0]
    found = spectrum(7 * q)
    assert (found.effective_rank, found.stable_rank) == pytest.approx((5, 5))


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (6, 6)])
def test_is_numpys_and_puts_the_matrix_together(shape):
    x = gaussian(1, *shape)
    found = spectrum(x)
    expected = np.linalg.svd(x, compute_uv=False)
    assert found.singular_values == pytest.approx(expected)
    assert found.left * found.singular_values @ found.right.T == pytest.approx(x)
    assert found.effective_rank == pytest.approx(
        np.exp(stats.entropy(expected / expected.sum()))
    )
    assert found.stable_rank == pytest.approx(
        np.linalg.norm(x) ** 2 / np.linalg.norm(x, 2) ** 2
    )


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), r=st.integers(1, 9))
def test_factors_give_what_the_whole_matrix_gives(seed, r):
    left, right = gaussian(seed, 12, r), gaussian(seed + 1, r, 8)
    found, whole = spectrum(LowRank(left, right)), spectrum(left @ right)
    least = min(8, r)
    assert len(found.singular_values) == least
    assert found.singular_values == pytest.approx(whole.singular_values[:least])
    assert found.left * found.singular_values @ found.right.T == pytest.approx(left @ right)
    assert found.left.T @ found.left == pytest.approx(np.eye(least), abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_ranks_are_blind_to_scale_and_rotation(seed, scale):
    x = gaussian(seed, 6, 4)
    q = np.linalg.qr(gaussian(seed + 1, 6, 6))[0]
    plain, turned = spectrum(x), spectrum(scale * (q @ x).T)
    assert turned.effective_rank == pytest.approx(plain.effective_rank)
    assert turned.stable_rank == pytest.approx(plain.stable_rank)
    assert turned.norm == pytest.approx(scale * plain.norm)
    assert 1 <= plain.stable_rank <= 4
    assert 1 <= plain.effective_rank <= 4


def test_a_zero_matrix_has_no_rank():
    found = spectrum(np.zeros((3, 2)))
    assert found.norm == 0
    assert np.isnan([found.effective_rank, found.stable_rank, found.top_share]).all()


def test_bad_weights_are_refused():
    with pytest.raises(InputError, match="q: 1 of 4 weights are NaN or infinite"):
        spectrum(np.array([[1, np.nan], [0, 1]]), "q")
    with pytest.raises(InputError, match="1 of 2 weights are NaN"):
        spectrum(LowRank(np.array([[np.inf], [1.0]]), np.ones((1, 3))))
