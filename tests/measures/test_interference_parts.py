"""Parts of interference: planted attraction, the size of `interference`, differences."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.interference import displacement_interference
from interfere.measures.interference_parts import Drawn, drawn, interference_parts
from interfere.measures.rows import Array

FACTS, WIDTH, RANK = 400, 24, 4
RELATIONS = np.repeat(["P17", "P36"], FACTS // 2)
ANSWERS = np.arange(FACTS) % 50


def subspaces(generator: np.random.Generator) -> tuple[Array, Array]:
    """New facts that live in the first RANK axes, others that live in the last."""
    new, others = (0.01 * generator.normal(size=(100, WIDTH)) for _ in range(2))
    new[:, :RANK] += generator.normal(size=(100, RANK))
    others[:, -RANK:] += generator.normal(size=(100, RANK))
    return new, others


def planted(seed: int, shift: float, noise: float) -> tuple[Array, Drawn]:
    """A shift in the relation's own direction, and each fact's noise, towards new facts."""
    generator = np.random.default_rng(seed)
    before = generator.normal(size=(FACTS, WIDTH))
    control = before + 0.1 * generator.normal(size=before.shape)
    moved = noise * generator.normal(size=before.shape)
    moved += np.where(RELATIONS[:, None] == "P17", shift, -shift)
    moved[:, RANK:] = 0
    new, others = subspaces(generator)
    return before, beyond([control + moved], [control], [new], others)


def beyond(after, control, new, others) -> Drawn:
    """Every new and other fact has an answer of its own."""
    answers = tuple([f"{name} {i}" for i in range(100)] for name in ("new", "other"))
    return drawn(after, control, new, others, answers=answers, rank=RANK)


@pytest.mark.parametrize(
    ("shift", "noise", "part", "other"),
    [(0.5, 0, "common", "residual"), (0, 0.5, "residual", "common")],
)
def test_the_planted_part_is_found(shift, noise, part, other):
    found = interference_parts(*planted(0, shift, noise), RELATIONS, ANSWERS)
    expected = RANK * 0.25 / WIDTH
    assert getattr(found, part).value == pytest.approx(expected, rel=0.1)
    assert getattr(found, part).low < expected < getattr(found, part).high
    assert abs(getattr(found, other).value) < 0.05 * expected
    assert found.whole.value == pytest.approx(found.common.value + found.residual.value)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999))
def test_the_whole_is_the_size(seed):
    generator = np.random.default_rng(seed)
    before, after, control = generator.normal(size=(3, FACTS, WIDTH))
    new, others = generator.normal(size=(90, WIDTH)), generator.normal(size=(70, WIDTH))
    answers = np.arange(90) % 50, np.arange(70) % 50
    size, _, _ = displacement_interference(
        before, after, control, new, others, rank=RANK, answers=(ANSWERS, *answers)
    )
    arm = drawn([after], [control], [new], others, answers=answers, rank=RANK)
    found = interference_parts(before, arm, RELATIONS, ANSWERS)
    assert (found.whole.value, found.whole.low, found.whole.high) == pytest.approx(size)


def test_two_arms_differ_in_the_part_that_was_planted():
    before, more = planted(1, shift=0.5, noise=0.3)
    _, less = planted(1, shift=0.1, noise=0.3)
    found = interference_parts(before, more, RELATIONS, ANSWERS, less=less)
    assert found.common.shows
    assert found.common.value == pytest.approx(RANK * (0.25 - 0.01) / WIDTH, rel=0.1)
    assert not found.residual.shows


def test_seeds_are_averaged_and_their_range_kept():
    before, one = planted(2, shift=0.3, noise=0.1)
    _, two = planted(2, shift=0.5, noise=0.1)
    both = replace(one, delta=[*one.delta, *two.delta], new=[*one.new, *two.new])
    found = interference_parts(before, both, RELATIONS, ANSWERS).common
    two = replace(two, others=one.others)
    each = [interference_parts(before, x, RELATIONS, ANSWERS).common for x in (one, two)]
    values = [x.value for x in each]
    assert found.value == pytest.approx(np.mean(values))
    assert (found.seeds_low, found.seeds_high) == pytest.approx((min(values), max(values)))


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
def test_intervals_cover_at_their_rate():
    """Half of what is each fact's own is shared by the facts of an answer."""
    inside, draws, answers, pull = 0, 400, 40, 0.3
    new, others = subspaces(np.random.default_rng(0))
    new[:, RANK:] = others[:, :-RANK] = 0  # exact subspaces: the facts alone are chance
    codes = np.arange(FACTS) % answers
    for seed in range(draws):
        generator = np.random.default_rng(seed)
        before = generator.normal(size=(FACTS, WIDTH))
        before -= before.mean(0)
        own = generator.normal(size=(answers, RANK))[codes]
        moved = pull + pull * (own + generator.normal(size=(FACTS, RANK))) / np.sqrt(2)
        wide = np.zeros((FACTS, WIDTH))
        wide[:, :RANK] = moved
        arm = beyond([wide], [0 * wide], [new], others)
        found = interference_parts(before, arm, np.zeros(FACTS), codes)
        whole = 2 * pull**2 * RANK / WIDTH
        inside += found.whole.low < whole < found.whole.high
    assert 0.925 <= inside / draws <= 0.985


def test_new_facts_of_few_directions_give_nan():
    before, _ = planted(0, 0.1, 0.1)
    new, others = subspaces(np.random.default_rng(0))
    new[:, 1:] = 0
    with pytest.warns(UserWarning, match="directions"):
        arm = beyond([before + 1], [before], [new], others)
    found = interference_parts(before, arm, RELATIONS, ANSWERS)
    assert np.isnan([found.common.value, found.residual.value, found.whole.low]).all()


def test_blind_to_one_rotation_and_scaling():
    generator = np.random.default_rng(3)
    before, after, control = generator.normal(size=(3, FACTS, WIDTH))
    new, others = subspaces(generator)
    turn = 3 * np.linalg.qr(generator.normal(size=(WIDTH, WIDTH)))[0]
    found, turned = (
        interference_parts(
            before @ t,
            beyond([after @ t], [control @ t], [new @ t], others @ t),
            RELATIONS,
            ANSWERS,
        )
        for t in (np.eye(WIDTH), turn)
    )
    assert turned.common.value == pytest.approx(found.common.value)
    assert turned.residual.low == pytest.approx(found.residual.low)


def test_an_arm_that_is_where_the_control_is_has_none():
    before, _ = planted(0, 0, 0)
    new, others = subspaces(np.random.default_rng(0))
    arm = beyond([before], [before], [new], others)
    found = interference_parts(before, arm, RELATIONS, ANSWERS)
    assert (found.common.value, found.residual.value) == (0, 0)
    assert not found.whole.shows


@pytest.mark.usefixtures("types_unchecked")
def test_other_seeds_or_facts_are_refused():
    before, arm = planted(0, 0.1, 0.1)
    new, others = subspaces(np.random.default_rng(0))
    with pytest.raises(InputError, match="same seeds thrice, got 1 of the arm, 0"):
        beyond([before], [], [new], others)
    with pytest.raises(InputError, match="same facts and dimensions"):
        beyond([before], [before[1:]], [new], others)
    with pytest.raises(InputError, match="same new facts under every seed"):
        beyond([before] * 2, [before] * 2, [new, new[1:]], others)
    twice = replace(arm, delta=arm.delta * 2, new=arm.new * 2)
    with pytest.raises(InputError, match=r"same seeds of both arms.* got 1 and 2"):
        interference_parts(before, arm, RELATIONS, ANSWERS, less=twice)
    with pytest.raises(InputError, match="same facts, got 399 and 400"):
        interference_parts(before[1:], arm, RELATIONS[1:], ANSWERS[1:])
