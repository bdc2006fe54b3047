"""Principal subspaces: planted, by SciPy's angles, and refused where they don't exist."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from interfere.errors import InputError
from interfere.measures.subspaces import principal_subspace, similarity


def test_the_axis_of_most_variance_by_hand():
    x = np.array([[5.0, 1, 0], [-5, 1, 0], [0, 2, 0], [0, 0, 0]])
    found = principal_subspace(x, 2)
    assert np.abs(found) == pytest.approx(np.eye(3)[:, :2], abs=1e-12)


@pytest.mark.parametrize(("rows", "d"), [(40, 6), (8, 60), (20, 20)])
def test_is_the_singular_vectors_of_centred_rows(rows, d):
    x = gaussian(0, rows, d) + 100
    found = principal_subspace(x, 4)
    vectors = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:4].T
    assert found.T @ found == pytest.approx(np.eye(4), abs=1e-9)
    assert np.abs((found * vectors).sum(0)) == pytest.approx(np.ones(4), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), d=st.sampled_from([5, 30]), rank=st.integers(1, 4))
def test_similarity_is_mean_squared_cosine_of_scipys_angles(seed, d, rank):
    a, b = gaussian(seed, 12, d), gaussian(seed + 1, 9, d)
    u, v = (np.linalg.svd(x - x.mean(0))[2][:rank].T for x in (a, b))
    expected = np.square(np.cos(linalg.subspace_angles(u, v))).mean()
    found = similarity(a, b, rank)
    assert found == pytest.approx(expected, abs=1e-8)
    assert 0 <= found <= 1 + 1e-12
    assert similarity(b, a, rank) == pytest.approx(found, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100), rank=st.integers(1, 4))
def test_blind_to_rotation_scale_shift_order(seed, scale, rank):
    a, b = gaussian(seed, 12, 5), gaussian(seed + 1, 9, 5)
    q, _ = np.linalg.qr(gaussian(seed + 2, 5, 5))
    order = np.random.default_rng(seed).permutation(12)
    moved = similarity(scale * a[order] @ q + 3, b @ q - 5, rank)
    assert moved == pytest.approx(similarity(a, b, rank), abs=1e-7)


def test_unrelated_subspaces_share_rank_over_d():
    draws = (gaussian(seed, 2, 20, 50) for seed in range(50))
    values = [similarity(a, b, 10) for a, b in draws]
    assert np.mean(values) == pytest.approx(10 / 50, abs=0.01)


def test_orthogonal_and_equal():
    x = gaussian(0, 30, 4)
    a, b = np.hstack([x, np.zeros((30, 4))]), np.hstack([np.zeros((30, 4)), x])
    assert similarity(a, b, 4) == pytest.approx(0, abs=1e-20)
    assert similarity(a, a[:, ::1] * 3 + 1, 4) == pytest.approx(1)


@pytest.mark.parametrize("d", [3, 50])
def test_fewer_directions_than_the_rank_are_nan(d):
    x = gaussian(0, 20, 2) @ gaussian(1, 2, d) + 10
    assert np.isfinite(principal_subspace(x, 2)).all()
    with pytest.warns(UserWarning, match="NaN: the rows vary in fewer than 3 directions"):
        assert np.isnan(principal_subspace(x, 3)).all()


def test_constant_rows_are_nan():
    with pytest.warns(UserWarning, match="fewer than 1 direction"):
        assert np.isnan(principal_subspace(np.full((6, 3), 0.1), 1)).all()


@pytest.mark.parametrize(("rank", "rows", "d"), [(0, 9, 9), (9, 9, 20), (5, 20, 4)])
def test_impossible_ranks_are_refused(rank, rows, d):
    message = rf"from 1 to {min(rows - 1, d)} for {rows} rows, got {rank}; give a smaller"
    with pytest.raises(InputError, match=message):
        principal_subspace(gaussian(0, rows, d), rank)


def test_two_hooks_are_refused():
    with pytest.raises(InputError, match="lie in 5 and 6 dimensions; use one hook"):
        similarity(gaussian(0, 9, 5), gaussian(0, 9, 6), 2)
