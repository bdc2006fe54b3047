"""Planted truth: unchanged, shifted, rotated, erased; the table is the arrays'."""

import numpy as np
import pytest
from countries import countries
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.measures.comparison import compare
from interfere.measures.folds import fact_folds, make_folds
from interfere.measures.probe_transfer import probe_transfer, readings, together

N, D, CLASSES = 400, 20, 8
LABELS = np.arange(N) % CLASSES
ANSWERS = [f"answer {label}" for label in LABELS]
FOLDS = make_folds(ANSWERS, np.arange(N))


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Activations that say their label, and the means that say it."""
    rng = np.random.default_rng(seed)
    means = 2 * rng.normal(size=(CLASSES, D))
    return means[LABELS] + rng.normal(size=(N, D)), means


def transfer(before, after, kind="discriminant"):
    found = readings(before, after, FOLDS, kind=kind)
    return found.summary(ANSWERS, chance=FOLDS.chance, resamples=500)


def check(result, *, before=None, carried=None, retrained=None):
    for name, (low, high) in {
        "before": before,
        "carried": carried,
        "retrained": retrained,
    }.items():
        assert low <= getattr(result, name).value <= high, name


HIGH, LOW = (0.9, 1.0), (0.0, 0.3)


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_unchanged_is_neither(kind):
    x, _ = planted()
    result = transfer(x, x.copy(), kind)
    check(result, before=HIGH, carried=HIGH, retrained=HIGH)
    assert result.erased.value == result.misread.value == result.shift.value == 0


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_rotated_is_misread(kind):
    x, _ = planted()
    q, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(D, D)))
    result = transfer(x, x @ q, kind)
    check(result, before=HIGH, carried=LOW, retrained=HIGH)
    assert result.misread.low > 0.5
    assert abs(result.erased.value) < 0.05
    assert result.shift.value < 0.3, "a rotation is no shift"


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_noise_in_its_place_is_erased(kind):
    x, _ = planted()
    noise = np.random.default_rng(9).normal(size=(N, D)) * x.std(0) + x.mean(0)
    result = transfer(x, noise, kind)
    check(result, before=HIGH, carried=LOW, retrained=LOW)
    assert result.erased.low > 0.5
    assert abs(result.misread.value) < 0.1


def test_taking_the_class_means_out_is_erased():
    """All else is left: only what a linear probe reads is gone."""
    x, means = planted()
    basis = np.linalg.svd(means - means.mean(0))[2][: CLASSES - 1]
    result = transfer(x, x - (x - x.mean(0)) @ basis.T @ basis)
    check(result, before=HIGH, carried=LOW, retrained=LOW)
    assert result.erased.shows


def test_a_shift_along_what_is_read_is_misread_and_recentred():
    x, means = planted()
    result = transfer(x, x + 4 * (means[0] - means[1]))
    check(result, before=HIGH, carried=LOW, retrained=HIGH)
    assert result.erased.value == 0
    assert result.misread.low > 0.5
    assert result.shift.value == pytest.approx(result.misread.value)
    assert result.recentred.value == result.before.value


def test_a_shift_along_what_no_probe_reads_is_neither():
    x, _ = planted()
    silent = np.hstack([x, np.random.default_rng(3).normal(size=(N, 1)) * 100])
    after = silent.copy()
    after[:, D] += 100
    result = transfer(silent, after)
    check(result, before=HIGH, carried=HIGH, retrained=HIGH)
    assert abs(result.misread.value) < 0.02
    assert result.erased.value == 0


def test_half_of_the_classes_erased_are_told_from_the_others():
    x, means = planted()
    y = x.copy()
    gone = LABELS < CLASSES // 2
    y[gone] = means[: CLASSES // 2].mean(0) + np.random.default_rng(5).normal(
        size=(gone.sum(), D)
    )
    found = readings(x, y, FOLDS)
    there, lost = (
        found.summary(ANSWERS, chance=FOLDS.chance, among=mask) for mask in (~gone, gone)
    )
    assert lost.erased.low > 0.5
    assert abs(there.erased.value) < 0.1
    assert there.facts + lost.facts == N


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_the_parts_add_up_and_lie_in_range(seed):
    x, _ = planted(seed)
    y = x @ np.random.default_rng(seed).normal(size=(D, D)) / 4
    result = transfer(x, y)
    fall = result.before.value - result.carried.value
    assert fall == pytest.approx(result.erased.value + result.misread.value)
    for part in (result.before, result.carried, result.recentred, result.retrained):
        assert 0 <= part.value <= 1
        assert part.null == pytest.approx(1 / CLASSES)


def test_carried_is_the_old_probe_by_hand():
    """Two clouds on a line; after, all moved beyond the border by a known share."""
    x = np.where(np.arange(200) % 2, 1.0, -1.0)[:, None]
    x = x + 0.01 * np.random.default_rng(0).normal(size=(200, 1))
    y = x.copy()
    y[:50] += np.where(x[:50] < 0, 2.0, 0)  # 25 of the lower cloud, now above the border
    labels = np.where(np.arange(200) % 2, "up", "down")
    found = readings(x, y, make_folds(labels, np.arange(200)))
    assert found.before.mean() == 1
    assert found.carried.mean() == pytest.approx(1 - 25 / 200)
    assert found.retrained.mean() == pytest.approx(1 - 25 / 200)


def test_seeds_are_averaged_and_their_range_kept():
    x, _ = planted()
    noise = np.random.default_rng(2).normal(size=(N, D))
    seeds = [readings(x, x + 3 * noise, FOLDS), readings(x, x, FOLDS)]
    values = [float(seed.retrained.mean()) for seed in seeds]
    result = together(seeds).summary(ANSWERS, chance=FOLDS.chance, resamples=200)
    assert result.retrained.value == pytest.approx(np.mean(values))
    assert result.retrained.seeds_low == pytest.approx(min(values))
    assert result.retrained.seeds_high == pytest.approx(max(values))
    assert values[0] < values[1]


def test_constant_is_nan_and_the_side_named():
    x, _ = planted()
    with pytest.warns(UserWarning, match="after, activations: probe transfer is NaN"):
        result = transfer(x, np.ones((N, D)))
    assert np.isnan([result.before.value, result.erased.low]).all()


def test_other_dimensions_are_refused():
    x, _ = planted()
    with pytest.raises(InputError, match="before has 20 dimensions, after 19"):
        readings(x, x[:, 1:], FOLDS)


def test_an_infinite_activation_is_named():
    x, _ = planted()
    y = x.copy()
    y[3, 2] = np.inf
    with pytest.raises(InputError, match="after, hook: fact 3 has a NaN or infinite"):
        readings(x, y, FOLDS, name="hook")


@pytest.fixture(scope="module")
def change(tmp_path_factory):
    places = countries(3, 22)
    folder = tmp_path_factory.mktemp("transfer")
    model, shaken = tiny_model(), tiny_model()
    for value in shaken.network.parameters():
        value.data *= 1.1
    keep = {"hooks": "blocks.[02].hook_out", "positions": ["subject_last", "prompt_last"]}
    before = record(model, places, folder / "before.h5", **keep)
    after = record(shaken, places, folder / "after.h5", **keep)
    for side, right in ((before, np.arange(66) % 3 > 0), (after, np.arange(66) % 3 > 1)):
        side.__dict__["right"] = right  # random weights answer nothing right
    return compare(before, after)


def test_the_table_is_the_arrays(change):
    table = probe_transfer(change, resamples=200)
    assert len(table) == 2 * 2 * 3
    assert set(table["among"]) == {"all", "forgotten", "kept"}
    key = "blocks.2.hook_out", "prompt_last"
    folds = fact_folds(change.pair.before.table)
    before, after = (side.numpy() for side in change.pair[key])
    found = readings(before, after, folds)
    forgotten = np.arange(66)[folds.rows] % 3 == 1
    expected = found.summary(
        folds.labels(change.pair.before.table["answer"], "answers"),
        chance=folds.chance,
        among=forgotten,
        resamples=200,
    )
    chosen = (table["hook"] == key[0]) & (table["position"] == key[1])
    row = table[chosen & (table["among"] == "forgotten")].iloc[0]
    assert row["facts"] == expected.facts == forgotten.sum()
    for name in ("before", "carried", "recentred", "retrained", "erased", "misread"):
        assert row[name] == getattr(expected, name).value
        assert row[f"{name}_high"] == pytest.approx(getattr(expected, name).high)
    assert row["chance"] == folds.chance


def test_too_few_facts_a_class_are_refused(change):
    with pytest.raises(InputError, match="a probe needs two classes of 23 facts"):
        probe_transfer(change, least=23)
