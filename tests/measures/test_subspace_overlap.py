"""Overlap is 1, 0 and one half where planted, and NaN where it says nothing."""

import warnings
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import places

from interfere.errors import InputError
from interfere.measures.subspace_overlap import overlap, subspace_overlap
from interfere.models.layers import layer

D = 24


def lying_in(axes: range, seed: int, rows: int = 80) -> np.ndarray:
    """Rows that vary along these axes, and very little along all."""
    rng = np.random.default_rng(seed)
    x = 0.05 * rng.normal(size=(rows, D))
    x[:, list(axes)] += rng.normal(size=(rows, len(axes)))
    return x


OLD, CONTROL = lying_in(range(4), 0), lying_in(range(10, 14), 1)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [(range(4), 1), (range(16, 20), 0), (range(10, 14), 0), (range(2, 6), 0.5)],
)
def test_finds_what_was_planted(axes, expected):
    found = subspace_overlap(OLD, lying_in(axes, 2), CONTROL, rank=4)
    assert found.overlap == pytest.approx(expected, abs=0.02)
    assert found.low <= found.overlap <= found.high
    assert found.high - found.low < 0.1
    assert found.s_old_old == pytest.approx(1, abs=0.02)
    assert found.s_old_control == pytest.approx(0, abs=0.02)
    assert (found.rank, found.rows) == (4, 40)


def test_all_subspaces_come_from_as_many_rows():
    found = subspace_overlap(OLD, lying_in(range(4), 2, 500), CONTROL[:15], rank=4)
    assert found.rows == 15


def test_few_new_facts_set_the_rows():
    found = subspace_overlap(OLD, lying_in(range(4), 2, 12), CONTROL, rank=4)
    assert found.rows == 12
    assert found.overlap == pytest.approx(1, abs=0.05)


def drawn(kind: str, seed: int, answers: int | None):
    """Old, new and control facts of one population, 200, 100 and 100, and their answers."""
    rng, d = np.random.default_rng(seed), 16
    if kind == "flat":
        scale = 1 / np.sqrt(np.arange(1, d + 1))
        mixing = [np.diag(np.roll(scale, by)) for by in (0, 2, 6)]
    else:  # tilted from the old facts' axes by so many radians, into others
        mixing = []
        for tilt, into in ((0.0, 3), (0.8, 3), (1.3, 6)):
            axes = 0.15 * np.eye(d)
            axes[range(3), range(3)] += np.cos(tilt)
            axes[range(3), range(into, into + 3)] += np.sin(tilt)
            mixing.append(axes)
    sets, labels = [], []
    for facts, matrix in zip((200, 100, 100), mixing, strict=True):
        rows = rng.normal(size=(facts, d))
        if answers:
            answer = rng.integers(0, answers, facts)
            rows = 0.6**0.5 * rows + 0.4**0.5 * rng.normal(size=(answers, d))[answer]
            labels.append(answer)
        sets.append(rows @ matrix)
    return sets, tuple(labels) if answers else None


def covered(kind: str, answers: int | None, draws: int) -> float:
    found = []
    for seed in range(draws):
        sets, labels = drawn(kind, seed, answers)
        found.append(subspace_overlap(*sets, rank=3, seed=seed, answers=labels))
    truth = np.mean([f.overlap for f in found])
    return np.mean([f.low <= truth <= f.high for f in found])


def test_the_interval_covers_where_new_and_control_facts_are_all_used():
    """Its spread over splits, which holds them fixed, covered a tenth of the draws."""
    assert covered("tilted", None, 40) > 0.82


@pytest.mark.slow
@pytest.mark.parametrize("answers", [None, 40])
@pytest.mark.parametrize("kind", ["tilted", "flat"])
def test_the_interval_covers(kind, answers):
    assert covered(kind, answers, 150) >= 0.9


def test_facts_that_move_by_answer_widen_the_interval():
    rng = np.random.default_rng(0)
    sets, labels = drawn("flat", 0, 12)
    plain = subspace_overlap(*sets, rank=3)
    by_answer = subspace_overlap(*sets, rank=3, answers=labels)
    assert by_answer.overlap == plain.overlap
    assert by_answer.high - by_answer.low > 1.2 * (plain.high - plain.low)
    mixed = tuple(rng.permutation(codes) for codes in labels)
    again = subspace_overlap(*sets, rank=3, answers=mixed)
    assert again.high - again.low < by_answer.high - by_answer.low


def test_too_few_facts_or_answers_to_halve_have_no_interval():
    new = lying_in(range(2, 6), 2, 9)
    with pytest.warns(UserWarning, match="at L1: the interval is NaN: half of the facts"):
        found = subspace_overlap(OLD, new, CONTROL, rank=5, name="at L1")
    assert np.isnan([found.low, found.high]).all()
    one = np.zeros(80, dtype=int)
    with pytest.warns(UserWarning, match="the interval is NaN"):
        found = subspace_overlap(
            OLD, lying_in(range(2, 6), 2), CONTROL, rank=4, answers=(one, one, one)
        )
    assert found.overlap == pytest.approx(0.5, abs=0.02)


def test_more_new_facts_than_old_ones_bring_nothing_nearer():
    """Noise alone: a subspace of more rows would be better estimated, and look nearer."""
    rng = np.random.default_rng(3)
    scale = 1 / np.arange(1, D + 1)
    old, control = rng.normal(size=(60, D)) * scale, lying_in(range(12, 20), 4)
    few, many = rng.normal(size=(30, D)) * scale, rng.normal(size=(3000, D)) * scale
    found = [subspace_overlap(old, new, control, rank=8).overlap for new in (few, many)]
    assert found[0] == pytest.approx(1, abs=0.1)
    assert found[1] == pytest.approx(1, abs=0.1)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_blind_to_one_rotation_scaling_and_shift_of_all(seed, scale):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(D, D)))
    shift = rng.normal(size=D)
    sets = OLD, lying_in(range(2, 6), seed), CONTROL
    plain = asdict(subspace_overlap(*sets, rank=4))
    moved = asdict(subspace_overlap(*(scale * x @ q + shift for x in sets), rank=4))
    assert moved == pytest.approx(plain, abs=1e-7)


def test_the_distance_of_means_stands_apart():
    new = lying_in(range(4), 2)
    near, far = (subspace_overlap(OLD, x, CONTROL, rank=4) for x in (new, new + 5))
    assert far.overlap == pytest.approx(near.overlap, abs=1e-9)
    spread = np.sqrt(np.square(OLD - OLD.mean(0)).sum(1).mean())
    expected = np.linalg.norm(new.mean(0) + 5 - OLD.mean(0)) / spread
    assert far.mean_distance == pytest.approx(expected)
    assert near.mean_distance < 0.5 < far.mean_distance


def test_a_control_as_near_as_the_old_is_nan():
    with pytest.warns(UserWarning, match=r"at L1: overlap is NaN: old facts are no nearer"):
        found = subspace_overlap(
            OLD, lying_in(range(2, 6), 2), lying_in(range(4), 7), rank=4, name="at L1"
        )
    assert np.isnan([found.overlap, found.low, found.high]).all()
    assert found.s_old_control == pytest.approx(found.s_old_old, abs=0.02)


def test_a_control_nearer_than_the_old_is_nan():
    """Noisy old facts: their own halves differ more than either does from a clean set."""
    rng = np.random.default_rng(0)
    noisy = lying_in(range(4), 0) + 0.6 * rng.normal(size=OLD.shape)
    with pytest.warns(UserWarning, match=r"no nearer .* \(difference -0\.\d+"):
        found = subspace_overlap(noisy, CONTROL, lying_in(range(4), 7), rank=4)
    assert np.isnan(found.overlap)
    assert found.s_old_control > found.s_old_old


def test_fewer_directions_than_the_rank_are_nan():
    flat = OLD * (np.arange(D) < 3)
    with pytest.warns(UserWarning, match="NaN: a set varies in fewer directions"):
        assert np.isnan(subspace_overlap(OLD, flat, CONTROL, rank=4).overlap)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="rank must be from 1 to 23 for 40 rows, got 24"):
        subspace_overlap(OLD, OLD, CONTROL, rank=D)
    with pytest.raises(InputError, match="needs 20 splits or more, got 19"):
        subspace_overlap(OLD, OLD, CONTROL, rank=4, splits=19)
    with pytest.raises(
        InputError, match=r"differ in dimensions \(old 24, new 24, control 5\)"
    ):
        subspace_overlap(OLD, OLD, CONTROL[:, :5], rank=4)
    with pytest.raises(
        InputError, match="overlap, answers: expected a label for each of 80"
    ):
        subspace_overlap(OLD, OLD, CONTROL, rank=4, answers=([1], range(80), range(80)))
    with pytest.raises(InputError, match="overlap, new: needs at least 4 facts, got 3"):
        subspace_overlap(OLD, OLD[:3], CONTROL, rank=2)


@pytest.fixture(scope="module")
def recordings(make):
    hooks = ["blocks.*.hook_out", "ln_final.hook_out"]
    sets = {"old": places()[:20], "new": places()[20:32], "control": places()[32:]}
    return {name: make(name, facts, hooks=hooks) for name, facts in sets.items()}


def test_a_row_a_hook(recordings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = overlap(**recordings, position="prompt_last", rank=3, seed=5)
        sets = (r["blocks.1.hook_out", "prompt_last"].numpy() for r in recordings.values())
        answers = tuple(r.table["answer"] for r in recordings.values())
        expected = asdict(subspace_overlap(*sets, rank=3, seed=5, answers=answers))
    assert table["hook"].tolist() == recordings["old"].hooks
    assert table["layer"].astype(object).fillna(-1).tolist() == [0, 1, 2, -1]
    row = table.drop(columns=["hook", "layer"]).loc[1].to_dict()
    assert row == pytest.approx(expected, nan_ok=True)


def test_layers_are_read_from_names():
    assert layer("blocks.12.attn.hook_z") == 12
    assert layer("ln_final.hook_out") is None


def test_two_models_are_refused(recordings, make):
    other = make("other", places()[20:32], seed=1)
    with pytest.raises(
        InputError, match=r"other.h5: new .* weights \w+, but .*old.h5 with"
    ):
        overlap(**recordings | {"new": other})


def test_a_missing_hook_or_position_is_refused(recordings, make):
    few = make("few", places()[32:], hooks="blocks.0.hook_out", positions=["subject_last"])
    with pytest.raises(
        InputError, match=r"few.h5: control lacks the hook blocks.1.hook_out"
    ):
        overlap(**recordings | {"control": few})
    one = {"old": few, "new": few, "control": few}
    with pytest.raises(
        InputError, match="old lacks the position last; it has subject_last"
    ):
        overlap(**one, position="last")
