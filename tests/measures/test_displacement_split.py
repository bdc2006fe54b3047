"""Shifts planted as purely common and purely residual, and mixtures between."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.displacement_split import displacement_split

RELATIONS = np.repeat(["P17", "P36", "P19"], [60, 50, 40])


BEFORE = gaussian(0, 150, 8)


def common(seed: int = 1) -> np.ndarray:
    """A shift for each relation, the same for its facts."""
    return gaussian(seed, 3, 8)[np.repeat([0, 1, 2], [60, 50, 40])]


def test_by_hand():
    before = np.zeros((4, 2))
    after = np.array([[2.0, 0], [0, 2], [2, 2], [9, 9]])
    with pytest.warns(UserWarning, match="interval is NaN"):
        found = displacement_split(before, after, ["a", "a", "a", "b"], [0, 0, 0, 1])
    # c of the first is ([0, 2] + [2, 2]) / 2 = [1, 2]: 2 of its 4
    assert found.common[:3].tolist() == [2 / 4, 2 / 4, 4 / 8]
    assert np.isnan(found.common[3])
    assert found.shift[:3] == pytest.approx([5**0.5, 5**0.5, 2**0.5])
    assert found.alignment[2] == pytest.approx(1)
    assert found.share.value == pytest.approx(8 / 16)
    assert found.facts == 3


def test_purely_common():
    found = displacement_split(BEFORE, BEFORE + common(), RELATIONS)
    assert found.common == pytest.approx(1)
    assert found.residual == pytest.approx(0, abs=1e-9)
    assert found.alignment == pytest.approx(1)
    assert (found.share.low, found.share.high) == pytest.approx((1, 1))


def test_purely_residual():
    shares = []
    for seed in range(60):
        found = displacement_split(
            BEFORE, BEFORE + gaussian(seed, 150, 8), RELATIONS, resamples=500
        )
        shares.append((found.share.low <= 0 <= found.share.high, found.share.value))
    covered, values = np.array(shares).T
    assert covered.mean() >= 0.85
    # A mean that held the fact itself would give 1 / 50.
    assert values.mean() == pytest.approx(0, abs=0.004)


def test_a_shift_common_to_all_is_common_to_each_relation_and_not_the_reverse():
    after = BEFORE + common()
    assert displacement_split(BEFORE, after, ["all"] * 150).share.value < 0.7
    assert displacement_split(BEFORE, BEFORE + 1, RELATIONS).share.value == pytest.approx(1)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_half_and_half_is_the_share_of_the_squared_norm(noise):
    expected = np.square(common()).sum() / (np.square(common()).sum() + noise**2 * 8 * 150)
    values = [
        displacement_split(
            BEFORE, BEFORE + common() + noise * gaussian(s, 150, 8), RELATIONS, resamples=9
        ).share.value
        for s in range(40)
    ]
    assert np.mean(values) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("pull", [0.0, 1.0])
def test_intervals_cover_with_facts_that_move_by_answer(pull):
    """Two facts of a relation share one of 50 answers, and then `pull`, by chance."""
    covered = []
    relation = np.repeat([0, 1], 100)
    shift = 0.5 * gaussian(9, 2, 8)[relation]
    pairs_alike = 1 / 50
    mean = np.square(shift).sum() / 200
    truth = (mean + pairs_alike * 8 * pull**2) / (mean + 8 * (1 + pull**2))
    for seed in range(150):
        rng = np.random.default_rng(seed)
        answer = rng.integers(0, 50, 200)
        own = (
            rng.normal(size=(200, 8)) + pull * rng.normal(size=(2, 50, 8))[relation, answer]
        )
        found = displacement_split(
            0 * own, shift + own, relation, answer + 50 * relation, resamples=400
        )
        covered.append(found.share.low <= truth <= found.share.high)
    assert 0.87 <= np.mean(covered) <= 0.995


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_blind_to_rotation_scaling_shift_and_order(seed, scale):
    after = BEFORE + common() + gaussian(seed, 150, 8)
    q = np.linalg.qr(gaussian(seed + 1, 8, 8)).Q
    order = np.random.default_rng(seed).permutation(150)
    plain = displacement_split(BEFORE, after, RELATIONS, resamples=9)
    moved = displacement_split(
        scale * BEFORE[order] @ q + 7,
        scale * after[order] @ q + 7,
        RELATIONS[order],
        resamples=9,
    )
    assert moved.common == pytest.approx(plain.common[order], abs=1e-6)
    assert moved.share.value == pytest.approx(plain.share.value, abs=1e-8)
    assert moved.length == pytest.approx(scale * plain.length[order], rel=1e-6)
    away = displacement_split(BEFORE, after + 5, RELATIONS, resamples=9)
    assert away.share.value > plain.share.value


def test_no_movement_and_lone_facts_are_nan():
    with pytest.warns(UserWarning, match="at L1: the common share is NaN: no fact moved"):
        found = displacement_split(BEFORE, BEFORE, RELATIONS, name="at L1")
    assert np.isnan([found.share.value, *found.common]).all()
    with pytest.warns(UserWarning, match="NaN: no relation has two facts"):
        found = displacement_split(BEFORE, BEFORE + 1, np.arange(150))
    assert np.isnan(found.share.low)
    assert found.facts == 0


def test_bad_input_is_refused():
    with pytest.raises(
        InputError, match=r"at L1: the split needs .* \(150, 8\) and \(9, 8\)"
    ):
        displacement_split(BEFORE, BEFORE[:9], RELATIONS, name="at L1")
    with pytest.raises(InputError, match="relations: expected a label for each of 150"):
        displacement_split(BEFORE, BEFORE, RELATIONS[:9])
