"""Principal angles: SciPy's, planted ones, and noise beside them."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from interfere.errors import InputError
from interfere.measures.principal_angles import angles_between, principal_angles


def lying_in(basis: np.ndarray, seed: int, rows: int = 60) -> np.ndarray:
    """Rows that vary along the columns of a basis, and very little along all."""
    noise = 0.01 * gaussian(seed + 1, rows, len(basis))
    return gaussian(seed, rows, basis.shape[1]) @ basis.T + noise


def frame(seed: int, d: int, k: int) -> np.ndarray:
    return np.linalg.qr(gaussian(seed, d, k)).Q


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6), k=st.integers(1, 4), tilt=st.sampled_from([1e-9, 0.1, 9])
)
def test_angles_are_scipys_small_ones_too(seed, k, tilt):
    u = frame(seed, 12, 4)
    v = np.linalg.qr(u[:, :k] + tilt * gaussian(seed + 1, 12, k)).Q
    expected = np.sort(linalg.subspace_angles(u, v))
    assert angles_between(u, v) == pytest.approx(expected, abs=1e-12, rel=1e-5)
    assert angles_between(v, u) == pytest.approx(expected, abs=1e-12, rel=1e-5)


def test_planted_angles_are_found():
    planted = np.array([0.0, 0.5, np.pi / 2])
    u, v = np.eye(12)[:, :3], np.zeros((12, 3))
    v[range(3), range(3)], v[range(6, 9), range(3)] = np.cos(planted), np.sin(planted)
    found = principal_angles(lying_in(u, 0), lying_in(v, 5), rank=3)
    assert found.angles == pytest.approx(planted, abs=0.03)
    assert found.mean.value == pytest.approx(planted.mean(), abs=0.02)
    assert found.mean.low <= found.mean.value <= found.mean.high
    assert found.mean.shows
    assert found.permuted.p_value == pytest.approx(2 / 100)
    assert found.rows == 60


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_blind_to_one_rotation_and_to_each_sets_shift(seed, scale):
    old, new = lying_in(frame(0, 8, 3), 1), lying_in(frame(2, 8, 3), 3, 40)
    q = frame(seed, 8, 8)
    plain = principal_angles(old, new, rank=3, permutations=2)
    moved = principal_angles(scale * old @ q, scale * new @ q, rank=3, permutations=2)
    assert moved.angles == pytest.approx(plain.angles, abs=1e-6)
    assert moved.mean.high == pytest.approx(plain.mean.high, abs=1e-6)
    shifted = principal_angles(old + 9, new, rank=3, permutations=2)
    assert shifted.angles == pytest.approx(plain.angles, abs=1e-6)
    turned = principal_angles(old, new @ q, rank=3, permutations=2)
    assert not np.allclose(turned.angles, plain.angles)


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("kind", ["facts alone", "answers in both", "answers in one"])
def test_two_samples_of_one_population_stand_at_the_angle_of_noise(kind):
    """2,000 draws: p is uniform, also where facts of one answer are alike."""
    scale, answers = 1 / np.sqrt(np.arange(1, 13)), None
    p_values, angles = [], []
    for seed in range(2000):
        x = gaussian(10**6 + seed, 80, 12)
        if kind != "facts alone":
            own = np.repeat(np.arange(20), 4)
            x += 2 * gaussian(10**7 + seed, 20, 12)[own]
            answers = (own[:40], own[40:])
            if kind == "answers in both":
                answers, x = (own[::2], own[1::2]), np.concatenate([x[::2], x[1::2]])
        x *= scale
        found = principal_angles(
            x[:40], x[40:], rank=3, answers=answers, permutations=19, seed=seed
        )
        p_values.append(found.permuted.p_value)
        angles.append(found.mean.value)
    # Facts of the same answers stand at less.
    least = 0.1 if kind == "answers in both" else 0.3
    assert np.mean(angles) > least, "noise alone opens angles"
    jittered = np.array(p_values) - np.random.default_rng(0).uniform(0, 0.1, size=2000)
    assert stats.kstest(jittered, "uniform").pvalue > 0.001


def test_too_few_directions_are_nan():
    flat = lying_in(np.eye(12)[:, :2], 0) * (np.arange(12) < 2)
    with pytest.warns(UserWarning, match="at L1: angles are NaN: a set varies in fewer"):
        found = principal_angles(flat, gaussian(0, 60, 12), rank=3, name="at L1")
    assert np.isnan([*found.angles, found.mean.value, found.permuted.p_value]).all()


def test_too_few_facts_to_halve_have_angles_but_no_interval():
    with pytest.warns(UserWarning, match="interval is NaN"):
        found = principal_angles(gaussian(0, 9, 12), gaussian(1, 9, 12), rank=5)
    assert np.isfinite(found.angles).all()
    assert np.isnan([found.mean.low, found.mean.high, found.mean.smallest]).all()


def test_impossible_ranks_are_refused():
    with pytest.raises(InputError, match="rank must be from 1 to 8 for 9 rows, got 9"):
        principal_angles(gaussian(0, 20, 12), gaussian(1, 9, 12), rank=9)
