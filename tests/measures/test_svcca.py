"""SVCCA against scikit-learn and scipy, and what it is blind to."""

import numpy as np
import pytest
from gaussian import changed, gaussian, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from interfere.errors import InputError
from interfere.measures.svcca import svcca


def stretched(seed: int, n: int, d: int) -> np.ndarray:
    return gaussian(seed, n, d) * 2.0 ** -np.arange(d)


@pytest.mark.parametrize("variance", [0.7, 0.9, 0.99, 0.9999])
def test_is_pca_then_canonical_correlations(variance):
    x = stretched(0, 60, 8) @ rotation(1, 8)
    y = np.hstack([x[:, :3] + 0.3 * stretched(2, 60, 3), stretched(3, 60, 2)])
    scores = [PCA(variance, svd_solver="full").fit_transform(side) for side in (x, y)]
    found = svcca(x, y, variance=variance)
    assert (found.kept_before, found.kept_after) == tuple(s.shape[1] for s in scores)
    cosines = np.sort(np.cos(subspace_angles(*scores)))[::-1]
    assert found.correlations == pytest.approx(cosines, abs=1e-9)
    assert found.value == pytest.approx(cosines.mean(), abs=1e-9)


def test_nothing_cut_is_the_cca_of_scikit_learn():
    x, y = changed(0, 80, 3, noise=2)
    fitted = CCA(n_components=3, max_iter=10_000, tol=1e-12).fit(x, y)
    u, v = fitted.transform(x, y)
    expected = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)]
    found = svcca(x, y, variance=1)
    assert found.correlations == pytest.approx(expected, abs=1e-4)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_blind_to_rotation_scale_shift_order(seed, scale):
    before, after = changed(seed, 25, 4)
    expected = svcca(before, after).value
    order = np.random.default_rng(seed).permutation(25)
    turned = scale * (before @ rotation(seed, 4) + 10)
    assert svcca(turned[order], after[order]).value == pytest.approx(expected, abs=1e-9)
    assert svcca(after, before).value == pytest.approx(expected, abs=1e-9)
    assert 0 <= expected <= 1


def test_blind_to_a_linear_map_only_where_nothing_is_cut():
    x, y = changed(0, 40, 4)
    linear = np.diag([1, 1, 1e-3, 1e-3])
    whole = svcca(x, y, variance=1).value
    assert svcca(x @ linear, y, variance=1).value == pytest.approx(whole, abs=1e-9)
    cut = svcca(x @ linear, y)
    assert cut.kept_before == 2
    assert abs(cut.value - svcca(x, y).value) > 0.01


def test_unrelated_rows_have_the_bias_that_is_stated():
    found = [
        svcca(gaussian(i, 50, 6), gaussian(99 + i, 50, 9), variance=1) for i in range(60)
    ]
    squared = np.mean([np.square(one.correlations).mean() for one in found])
    assert squared == pytest.approx(9 / 49, rel=0.1)


def test_correlations_by_arithmetic_are_nan():
    with pytest.warns(UserWarning, match=r"SVCCA is NaN: 9 and 1 directions of 10 facts"):
        found = svcca(gaussian(0, 10, 40), gaussian(1, 10, 1))
    assert np.isnan(found.value)
    assert found.correlations.shape == (1,)


def test_a_constant_side_is_nan():
    with pytest.warns(UserWarning, match="SVCCA is NaN: one side is constant"):
        assert np.isnan(svcca(np.full((9, 2), 1 / 3), gaussian(0, 9, 2)).value)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"variance must be above 0 and at most 1, got 99"):
        svcca(gaussian(0, 9, 2), gaussian(1, 9, 2), variance=99)
    with pytest.raises(InputError, match=r"SVCCA needs the same 4 .* got 9 and 8 rows"):
        svcca(gaussian(0, 9, 2), gaussian(1, 8, 2))
