"""Interference by hand, planted, isotropic, and NaN where the control moves as much."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.measures.interference import displacement_interference, interference
from interfere.measures.subspaces import principal_subspace

D, FACTS, RANK = 32, 200, 4
RNG = np.random.default_rng(0)
BEFORE = RNG.normal(size=(FACTS, D))
CONTROL = BEFORE + 0.1 * RNG.normal(size=(FACTS, D))
ANSWERS = [f"answer {i % 50}" for i in range(FACTS)]


def lying_in(axes: range, seed: int, rows: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = 0.01 * rng.normal(size=(rows, D))
    x[:, list(axes)] += rng.normal(size=(rows, len(axes)))
    return x


NEW, OTHERS = lying_in(range(4), 1), lying_in(range(4, 8), 2)


def own(rows) -> list[int]:
    """An answer for each row."""
    return list(range(len(rows)))


def measured(after, *, noise=None, new=NEW, others=OTHERS, answers=ANSWERS, seed=0):
    return displacement_interference(
        BEFORE,
        after,
        CONTROL,
        new,
        others,
        rank=RANK,
        answers=(answers, own(new), own(others)),
        noise=noise,
        seed=seed,
    )


def test_by_hand():
    before = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0]])  # Σ‖z - z̄‖² = 10
    delta = np.array([[2.0, 1, 5]])
    new, others = np.zeros((5, 3)), np.zeros((9, 3))
    new[0, 0] = others[0, 1] = 1
    size, direction, moved = displacement_interference(
        before,
        before + delta,
        before,
        new,
        others,
        rank=1,
        answers=(list("abcd"), own(new), own(others)),
    )
    assert size[0] == pytest.approx(4 * (4 - 1) / 10)
    assert direction[0] == pytest.approx(4)
    assert np.isnan(
        [*size[1:], *direction[1:]]
    ).all()  # one row spans a set, a half has none
    assert moved == pytest.approx(4 * 30 / 10)


def test_isotropic_movement_has_no_direction():
    inside = 0
    for seed in range(20):
        shift = np.random.default_rng(seed + 10).normal(size=(FACTS, D))
        size, direction, moved = measured(CONTROL + shift)
        inside += direction[1] <= 1 <= direction[2]
        assert direction[0] == pytest.approx(1, abs=0.2)
        assert size[0] == pytest.approx(0, abs=0.03)
        assert moved == pytest.approx(1, abs=0.1)
    assert inside >= 16


def test_movement_in_the_new_facts_subspace_is_found():
    shift = lying_in(range(4), 3, FACTS)
    size, direction, moved = measured(CONTROL + shift)
    assert direction[0] > direction[1] > 100
    assert 0 < size[1] <= size[0] <= size[2]
    assert size[0] == pytest.approx(moved, rel=0.01)


def test_movement_in_old_facts_subspace_is_the_reverse():
    size, direction, moved = measured(CONTROL + lying_in(range(4, 8), 3, FACTS))
    assert direction[0] < 0.01
    assert size[0] == pytest.approx(-moved, rel=0.01)


def test_new_and_other_facts_are_cut_to_equal_numbers():
    after = CONTROL + np.random.default_rng(4).normal(size=(FACTS, D))
    many = np.vstack([OTHERS, lying_in(range(20, 24), 5, 500)])
    plain, more = measured(after), measured(after, others=many)
    assert (more[0][0], more[1][0]) == (plain[0][0], plain[1][0])
    many = np.vstack([NEW, lying_in(range(20, 24), 5, 500)])
    more = measured(after, new=many)
    assert (more[0][0], more[1][0]) == (plain[0][0], plain[1][0])


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_blind_to_one_rotation_scaling_shift_and_order(seed, scale):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(D, D)))
    shift, order = rng.normal(size=D), rng.permutation(FACTS)
    after = CONTROL + lying_in(range(2, 6), seed, FACTS)
    rows = [scale * x[order] @ q + shift for x in (BEFORE, after, CONTROL)]
    sets = [scale * x @ q + shift for x in (NEW, OTHERS)]
    size, direction, moved = displacement_interference(
        *rows,
        *sets,
        rank=RANK,
        answers=([ANSWERS[i] for i in order], own(NEW), own(OTHERS)),
    )
    plain = measured(after)
    assert size[0] == pytest.approx(plain[0][0], rel=1e-6, abs=1e-9)
    assert direction[0] == pytest.approx(plain[1][0], rel=1e-6)
    assert moved == pytest.approx(plain[2], rel=1e-9)


def test_no_more_than_the_controls_noise_is_nan():
    shift = lying_in(range(4), 3, FACTS)
    with pytest.warns(UserWarning, match="direction is NaN: .* no further .* another seed"):
        size, direction, _ = measured(CONTROL + shift, noise=CONTROL - 1.01 * shift)
    assert np.isnan(direction).all()
    assert np.isfinite(size).all()
    assert np.isfinite(measured(CONTROL + shift, noise=CONTROL + 0.99 * shift)[1]).all()


def test_no_movement_at_all_is_nan():
    with pytest.warns(
        UserWarning, match="direction is NaN: the arm is where the control is"
    ):
        size, direction, moved = measured(CONTROL)
    assert np.isnan(direction).all()
    assert (size[0], moved) == (0, 0)


def test_facts_with_one_answer_count_once():
    """Movement that differs by answer: answers as clusters give the wider interval."""
    rng = np.random.default_rng(6)
    strength = rng.exponential(size=50)[[i % 50 for i in range(FACTS)]]
    after = CONTROL + strength[:, None] * rng.normal(size=(FACTS, D))
    after[:, :4] += strength[:, None]
    by_answer = measured(after)[0]
    by_fact = measured(after, answers=[str(i) for i in range(FACTS)])[0]
    assert by_answer[2] - by_answer[1] > 1.3 * (by_fact[2] - by_fact[1])


def test_bad_arrays_are_refused():
    with pytest.raises(InputError, match=r"thrice, got \(200, 32\), \(9, 32\) and \(200"):
        measured(CONTROL[:9])
    with pytest.raises(InputError, match="rank must be from 1 to 3 for 4 rows, got 4"):
        measured(CONTROL + 1, new=NEW[:4])
    broken = CONTROL.copy()
    broken[7, 3] = np.nan
    with pytest.raises(InputError, match="after: fact 7 has a NaN"):
        measured(broken)


def test_held_out_facts_that_are_equal_give_nan():
    with pytest.warns(UserWarning, match="held-out facts have equal activations"):
        (size, *_), _, moved = displacement_interference(
            np.full_like(BEFORE, 3.3),
            BEFORE,
            CONTROL,
            NEW,
            OTHERS,
            rank=RANK,
            answers=(ANSWERS, own(NEW), own(OTHERS)),
        )
    assert np.isnan([size, moved]).all()


def test_halves_too_small_for_the_rank_give_no_interval():
    with pytest.warns(UserWarning, match="half of 8 facts have no subspace of rank 4"):
        size, direction, _ = measured(CONTROL + lying_in(range(4), 3, FACTS), new=NEW[:8])
    assert np.isfinite([size[0], direction[0]]).all()
    assert np.isnan([*size[1:], *direction[1:]]).all()


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("fall", [0.5, 1.0])
def test_new_facts_that_are_like_others_show_nothing(fall):
    """Which facts the subspaces were made from is chance, too; facts of an answer are alike."""
    answers, draws, inside = 40, 300, np.zeros(2)
    spectrum = np.arange(1, D + 1.0) ** -0.5
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        means = rng.normal(size=(answers, D))

        def some(rows, strengths, means=means, rng=rng):
            codes = rng.integers(0, answers, rows)
            own = rng.normal(size=(rows, D))
            return codes, (means[codes] + own) / np.sqrt(2) * strengths

        (a, new), (b, others), (c, before) = (some(n, spectrum) for n in (200, 200, 300))
        shared = rng.normal(size=(answers, D))[c] + rng.normal(size=(300, D))
        found = displacement_interference(
            before,
            before + shared * np.arange(1, D + 1.0) ** -fall,
            before,
            new,
            others,
            rank=RANK,
            answers=(c, a, b),
        )
        (_, low, high), (_, least, most), _ = found
        inside += low <= 0 <= high, least <= 1 <= most
    assert np.all(inside / draws >= 0.93)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interference")

    def record_as(name, facts, seed=0):
        hooks = "blocks.1.hook_out"
        return record(tiny_model(seed=seed), facts, folder / f"{name}.h5", hooks=hooks)

    return record_as


@pytest.fixture(scope="module")
def sides(make):
    return {
        "old_before": make("before", places()[:20]),
        "old_after": make("after", places()[:20], seed=1),
        "old_control": make("control", places()[:20], seed=2),
        "new": make("new", places()[20:32]),
        "others": make("others", places()[32:]),
    }


HERE = {"hook": "blocks.1.hook_out", "position": "subject_last"}


def test_is_the_definition_on_recordings(sides):
    found = interference(**sides, **HERE, rank=3)
    z = {name: r[*HERE.values()].numpy().astype(float) for name, r in sides.items()}
    delta = z["old_after"] - z["old_control"]
    onto_new, onto_old = (
        np.square(delta @ principal_subspace(rows, 3)).sum()
        for rows in (z["new"], z["others"][:12])
    )
    spread = np.square(z["old_before"] - z["old_before"].mean(0)).sum()
    assert found.size == pytest.approx((onto_new - onto_old) / spread)
    assert found.direction == pytest.approx(onto_new / onto_old)
    assert found.moved == pytest.approx(np.square(delta).sum() / spread)
    assert (found.rank, found.facts) == (3, 20)
    assert (found.hook, found.position) == tuple(HERE.values())
    assert found.direction_low <= found.direction <= found.direction_high


def test_the_control_again_sets_the_noise(sides):
    # The control's other seed lies as far from it as the arm does: it is the arm.
    with pytest.warns(UserWarning, match="direction is NaN"):
        found = interference(**sides, **HERE, rank=3, control_again=sides["old_after"])
    assert np.isnan(found.direction)
    assert np.isfinite(found.size)


def test_measured_facts_among_the_others_are_refused(sides):
    with pytest.raises(
        InputError, match=r"before.h5 holds the measured fact \w{16}; P_old"
    ):
        interference(**sides | {"others": sides["old_before"]}, **HERE, rank=3)


@pytest.mark.parametrize("side", ["new", "others"])
def test_subspaces_of_another_checkpoint_are_refused(sides, make, side):
    later = make(f"later-{side}", places()[32:], seed=1)
    with pytest.raises(
        InputError, match=rf"later-{side}.h5: {side} .* but .*before.h5 with"
    ):
        interference(**sides | {side: later}, **HERE, rank=3)


def test_other_questions_are_refused(sides):
    with pytest.raises(InputError, match=r"others.h5 holds 18 facts, but .* holds 20"):
        interference(**sides | {"old_control": sides["others"]}, **HERE, rank=3)
