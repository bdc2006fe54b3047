"""RBF CKA against its formula, its linear limit, and what it is blind to."""

import numpy as np
import pytest
from gaussian import changed, gaussian, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from interfere.errors import InputError
from interfere.measures.cka import cka
from interfere.measures.rbf_cka import rbf_cka


@pytest.mark.parametrize("share", [0.2, 0.8, 3])
@pytest.mark.parametrize("n", [8, 9])
def test_is_eq_3_of_gaussian_kernels(share, n):
    def kernel(x):
        distances = pdist(x)
        k = np.exp(-squareform(distances**2) / (2 * (share * np.median(distances)) ** 2))
        np.fill_diagonal(k, 0)
        return k

    def hsic(k, m):
        ones = np.ones(n)
        total = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return np.trace(k @ m) + total - 2 / (n - 2) * ones @ k @ m @ ones

    before, after = changed(3, n, 4)
    k, m = kernel(before), kernel(after)
    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    assert rbf_cka(before, after, share=share).value == pytest.approx(expected, abs=1e-12)


def test_a_wide_kernel_is_linear_cka():
    # exp(-D / s) nears 1 - D / s, and squared distances U-centred are -2 times the Gram's.
    before, after = changed(0, 30, 5)
    linear = cka(before, after).value
    assert rbf_cka(before, after, share=1e3).value == pytest.approx(linear, abs=1e-5)
    assert abs(rbf_cka(before, after, share=0.5).value - linear) > 0.01


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_blind_to_rotation_scale_shift_order(seed, scale):
    before, after = changed(seed, 15, 4)
    expected = rbf_cka(before, after).value
    order = np.random.default_rng(seed).permutation(15)
    turned = scale * (before @ rotation(seed, 4) + 10)
    found = rbf_cka(turned[order], after[order]).value
    assert found == pytest.approx(expected, abs=1e-9)
    assert rbf_cka(after, before).value == pytest.approx(expected, abs=1e-12)


def test_sees_what_stretches():
    x = gaussian(0, 40, 3)
    assert rbf_cka(x, x).value == pytest.approx(1)
    assert rbf_cka(x, x * [5, 1, 0.2]).value < 0.9


def test_unrelated_wide_rows_are_near_zero():
    found = [rbf_cka(gaussian(i, 20, 400), gaussian(1000 + i, 20, 400)) for i in range(30)]
    values = [one.value for one in found]
    assert abs(np.mean(values)) < 0.03
    assert min(values) < 0, "a clamped value would be biased upward"


@pytest.mark.parametrize(
    "side", [np.full((9, 2), 1 / 3), np.eye(9), np.repeat([[0.0], [1]], [8, 1], axis=0)]
)
def test_a_side_that_says_nothing_is_nan(side):
    with pytest.warns(UserWarning, match="RBF CKA is NaN: one side is constant"):
        assert np.isnan(rbf_cka(side, gaussian(0, 9, 2)).value)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"share of the median .* got 0"):
        rbf_cka(gaussian(0, 9, 2), gaussian(1, 9, 2), share=0)
    with pytest.raises(InputError, match=r"RBF CKA needs the same 4 .* got 9 and 8 rows"):
        rbf_cka(gaussian(0, 9, 2), gaussian(1, 8, 2))
