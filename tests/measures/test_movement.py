"""Movement in parts: planted shifts and noise, differences, invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.displacement_split import displacement_split
from interfere.measures.movement import movement

FACTS, WIDTH = 400, 12
RELATIONS = np.repeat(["P17", "P36"], FACTS // 2)
ANSWERS = np.arange(FACTS) % 50


def planted(seed: int, shift: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    before = generator.normal(size=(FACTS, WIDTH))
    common = np.where(RELATIONS[:, None] == "P17", shift, -shift) * np.ones((1, WIDTH))
    return before, before + common + noise * generator.normal(size=before.shape)


def test_parts_are_what_was_planted():
    before, after = planted(0, shift=0.5, noise=0.3)
    found = movement(before, [after], RELATIONS, ANSWERS)
    assert found.common.value == pytest.approx(0.25, rel=0.1)
    assert found.residual.value == pytest.approx(0.09, rel=0.1)
    assert found.common.low < 0.25 < found.common.high
    whole = found.common.value + found.residual.value
    assert found.whole.value == pytest.approx(whole)
    delta = np.square(after - before).sum() / np.square(before).sum()
    assert found.whole.value == pytest.approx(delta)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_the_share_is_the_splits(seed):
    before, after = planted(seed, shift=0.4, noise=0.5)
    found = movement(before, [after], RELATIONS, ANSWERS)
    split = displacement_split(before, after, RELATIONS, ANSWERS, resamples=10)
    assert found.common.value / found.whole.value == pytest.approx(split.share.value)


def test_an_arm_less_another_differs_in_the_part_that_was_planted():
    before, much = planted(1, shift=0.6, noise=0.3)
    _, little = planted(1, shift=0.2, noise=0.3)
    found = movement(before, [much], RELATIONS, ANSWERS, less=[little])
    assert found.common.shows
    assert found.common.value == pytest.approx(0.36 - 0.04, rel=0.2)
    assert not found.residual.shows


def test_seeds_are_averaged_and_their_range_kept():
    before, one = planted(2, shift=0.3, noise=0.1)
    _, two = planted(2, shift=0.5, noise=0.1)
    both = movement(before, [one, two], RELATIONS, ANSWERS).common
    apart = [movement(before, [a], RELATIONS, ANSWERS).common.value for a in (one, two)]
    assert both.value == pytest.approx(np.mean(apart))
    assert (both.seeds_low, both.seeds_high) == pytest.approx((min(apart), max(apart)))


def test_beyond_the_control_its_own_movement_does_not_count():
    before, control = planted(4, shift=0.5, noise=0.3)
    own = planted(5, shift=0.2, noise=0.4)
    found = movement(
        before, [control + own[1] - own[0]], RELATIONS, ANSWERS, control=[control]
    )
    assert found.common.value == pytest.approx(0.04, rel=0.2)
    assert found.residual.value == pytest.approx(0.16, rel=0.1)
    still = movement(before, [control], RELATIONS, ANSWERS, control=[control])
    assert (still.common.value, still.whole.value) == (0, 0)


def test_an_only_fact_shares_nothing():
    before, after = planted(6, shift=0.4, noise=0.1)
    relations = RELATIONS.copy()
    relations[0] = "P30"
    found = movement(before, [after], relations, ANSWERS)
    own = np.square(after[0] - before[0]).sum() / np.square(before).sum()
    rest = movement(before[1:], [after[1:]], RELATIONS[1:], ANSWERS[1:])
    scale = np.square(before[1:]).sum() / np.square(before).sum()
    assert found.residual.value == pytest.approx(rest.residual.value * scale + own)


def test_what_is_not_finite_is_named():
    before, after = planted(0, shift=0.1, noise=0.1)
    after[7, 3] = np.nan
    with pytest.raises(InputError, match=r"after.*7"):
        movement(before, [after], RELATIONS, ANSWERS)
    with pytest.raises(InputError, match=r"control.*7"):
        movement(before, [before], RELATIONS, ANSWERS, control=[after])


def test_blind_to_one_rotation_and_scaling():
    before, after = planted(3, shift=0.3, noise=0.4)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)))[0]
    found = movement(before, [after], RELATIONS, ANSWERS)
    turned = movement(3 * before @ turn, [3 * after @ turn], RELATIONS, ANSWERS)
    assert turned.common.value == pytest.approx(found.common.value)
    assert turned.residual.high == pytest.approx(found.residual.high)


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
def test_intervals_cover_at_their_rate():
    """Half of the variance is the answers' own: facts of one answer move together."""
    inside, draws, answers = 0, 2000, 40
    for seed in range(draws):
        generator = np.random.default_rng(seed)
        before = generator.normal(size=(FACTS, WIDTH))
        codes = np.arange(FACTS) % answers
        own = generator.normal(size=(answers, WIDTH))[codes]
        moved = 0.3 + 0.3 * (own + generator.normal(size=before.shape)) / np.sqrt(2)
        after = [before + moved]
        found = movement(before, after, np.zeros(FACTS), codes).whole
        inside += found.low < 0.18 < found.high
    assert 0.93 <= inside / draws <= 0.97


@pytest.mark.usefixtures("types_unchecked")
def test_other_facts_are_refused():
    before, after = planted(0, shift=0.1, noise=0.1)
    with pytest.raises(InputError, match="same facts"):
        movement(before, [after[1:]], RELATIONS, ANSWERS)
    for seeds, less in (([], []), ([after, after], [after])):
        with pytest.raises(InputError, match="same seeds of both arms"):
            movement(before, seeds, RELATIONS, ANSWERS, less=less)
