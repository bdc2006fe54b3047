"""Two real recordings, before and after weights were shaken."""

import h5py
import numpy as np
import pandas as pd
import pytest
from tiny_models import places, shaken, tiny_model

from interfere.activations.recorder import record
from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.measures.cka import cka
from interfere.measures.comparison import compare
from interfere.measures.displacement_split import displacement_split
from interfere.measures.drift import drift
from interfere.measures.similarities import similarity_interval
from interfere.measures.statistics import mean_interval

FACTS = places()[:12]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    for name, model in (("before", tiny_model()), ("after", shaken(3, 0.02))):
        hooks = ["blocks.*.hook_out", "*.hook_z"]
        record(model, FACTS, folder / f"{name}.h5", hooks=hooks)
    return folder


@pytest.fixture(scope="module")
def change(folder):
    return compare(folder / "before.h5", str(folder / "after.h5"))


def test_drift_is_that_of_the_arrays(change):
    table = change.drift()
    before, after = change.pair.before, change.pair.after
    assert len(table) == len(before.hooks) * 3 * 12
    assert table.columns.tolist() == [
        "hook",
        "position",
        "fact",
        "drift",
        "relative_norm",
        "displacement",
    ]
    for (hook, position), part in table.groupby(["hook", "position"], sort=False):
        moved = drift(before[hook, position].numpy(), after[hook, position].numpy())
        assert part["fact"].tolist() == FACTS.ids
        assert np.array_equal(part["drift"], moved.drift)
        assert np.array_equal(part["relative_norm"], moved.relative_norm)
        assert np.array_equal(part["displacement"], moved.displacement)
    assert table["drift"].between(1e-6, 1).all()


def test_cka_is_that_of_the_arrays(change):
    table = change.cka()
    assert table.columns.tolist() == ["hook", "position", "cka", "facts"]
    assert (table["facts"] == 12).all()
    for row in table.itertuples():
        key = row.hook, row.position
        expected = cka(
            change.pair.before[key].numpy(), change.pair.after[key].numpy()
        ).value
        assert row.cka == pytest.approx(expected, abs=1e-12)
    assert (table["cka"] < 1).all()


def test_the_diagonal_of_all_pairs_is_the_plain_table(change):
    every = change.cka(all_pairs=True)
    hooks = len(change.pair.hooks)
    assert len(every) == hooks**2 * 3
    diagonal = every[every["hook"] == every["other_hook"]].drop(columns="other_hook")
    plain = change.cka()
    pd.testing.assert_frame_equal(diagonal.reset_index(drop=True), plain, rtol=1e-9)
    one = every[
        (every["hook"] == "blocks.0.hook_out")
        & (every["other_hook"] == "blocks.2.hook_out")
        & (every["position"] == "prompt_last")
    ]
    expected = cka(
        change.pair.before["blocks.0.hook_out", "prompt_last"].numpy(),
        change.pair.after["blocks.2.hook_out", "prompt_last"].numpy(),
    )
    assert one["cka"].tolist() == pytest.approx([expected.value])


def test_similarity_is_that_of_the_arrays_with_its_interval(change):
    names = ["cka", "rbf_cka", "procrustes", "rsa"]
    table = change.similarity(names, groups=3)
    assert len(table) == len(change.pair.hooks) * 3 * 4
    assert (table["facts"] == 12).all()
    assert (table["groups"] == 3).all()
    answers = change.pair.before.table["answer"]
    for row in table[table["hook"] == "blocks.1.hook_out"].itertuples():
        before, after = (
            side.numpy().astype(np.float64) for side in change.pair[row.hook, row.position]
        )
        expected = similarity_interval(before, after, answers, row.measure, groups=3)
        assert (row.value, row.low, row.high) == (
            float(expected.value),
            float(expected.low),
            float(expected.high),
        )
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).any()
    ours = table[table["measure"] == "cka"].merge(change.cka(), on=["hook", "position"])
    assert ours["value"].to_numpy() == pytest.approx(ours["cka"].to_numpy(), abs=1e-12)


def test_similarity_says_which_measures_there_are(change):
    with pytest.raises(InputError, match="no similarity 'cca'; there are cka, rbf_cka"):
        change.similarity(["cca"])


def test_similarity_by_neighbours_needs_more_facts_than_these(change):
    with pytest.raises(InputError, match=r"takes k from 1 to \d for .* got 10"):
        change.similarity(["mutual_knn"], groups=3)


def test_split_is_that_of_the_arrays(change):
    table, facts = change.split(), change.split(per_fact=True)
    before, after = change.pair.before, change.pair.after
    names = before.table
    assert len(table) == len(before.hooks) * 3
    assert len(facts) == len(table) * 12
    for row in table.itertuples():
        key = row.hook, row.position
        sides = before[key].numpy(), after[key].numpy()
        found = displacement_split(*sides, names["relation"], names["answer"])
        assert (row.common, row.low, row.high) == pytest.approx(
            (found.share.value, found.share.low, found.share.high)
        )
        assert row.residual == 1 - row.common
        part = facts[(facts["hook"] == row.hook) & (facts["position"] == row.position)]
        assert part["fact"].tolist() == FACTS.ids
        assert np.array_equal(part["common"], found.common)
        assert np.array_equal(part["shift"], found.shift)
    assert table["common"].between(0.01, 1).all(), "shaken weights move facts together"


def test_a_recording_beside_itself_has_not_moved(folder):
    same = compare(folder / "before.h5", folder / "before.h5")
    assert not same.drift()[["drift", "relative_norm", "displacement"]].any(axis=None)
    assert same.cka()["cka"].to_numpy() == pytest.approx(1)
    alike = same.similarity(["cka", "rsa", "procrustes"]).groupby("measure")
    assert alike["value"].mean().to_dict() == pytest.approx(
        {"cka": 1, "rsa": 1, "procrustes": 0}, abs=1e-9
    )
    assert (alike["high"].max() <= [1, 2, 1]).all()
    assert same.net_loss()["net_loss"].tolist() == [0]


def test_net_loss_by_hand(folder):
    before, after = (open_recording(folder / f"{side}.h5") for side in ("before", "after"))
    # Random weights answer nothing right: what the files would say is put in its place.
    before.__dict__["right"] = np.arange(12) < 8
    after.__dict__["right"] = np.arange(12) >= 5
    found = compare(before, after).net_loss()
    ends = mean_interval((before.right - 1.0 * after.right)[None], before.table["answer"])
    assert found[["low", "high"]].to_numpy() == pytest.approx(
        np.array([[ends.low, ends.high]]), nan_ok=True
    )
    assert found.drop(columns=["low", "high", "smallest"]).to_dict("records") == [
        {
            "facts": 12,
            "right_before": 8,
            "right_after": 7,
            "lost": 5,
            "gained": 4,
            "net_loss": pytest.approx(1 / 12),
        }
    ]


def test_net_loss_reads_the_files(change):
    before, after = change.pair.before.right, change.pair.after.right
    found = change.net_loss().iloc[0]
    assert found["net_loss"] == pytest.approx(before.mean() - after.mean())
    assert found["right_after"] == after.sum()


def test_the_side_and_fact_at_fault_are_named(tmp_path, folder):
    # What no recorder writes any more, an older file may hold.
    path = tmp_path / "broken.h5"
    path.write_bytes((folder / "before.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        for position in file["blocks.1.hook_out"].values():
            position[7, 3] = np.nan
    before, after = open_recording(folder / "before.h5"), open_recording(path)
    found = compare(before, after)
    message = r"after, blocks.1.hook_out/\w+: fact 7 has a NaN .*\(1 of 12 facts have\)"
    with pytest.raises(InputError, match=message):
        found.drift()
    with pytest.raises(InputError, match=message):
        found.cka()


def test_other_facts_are_refused(tmp_path, folder):
    few = record(tiny_model(), FACTS[:5], tmp_path / "few.h5")
    with pytest.raises(InputError, match=r"few.h5 holds 5 facts, but .*before.h5 holds 12"):
        compare(folder / "before.h5", few)


def test_three_facts_have_no_cka(tmp_path):
    few = record(tiny_model(), FACTS[:3], tmp_path / "few.h5")
    with pytest.raises(InputError, match="4 or more facts twice, got 3 and 3"):
        compare(few, few).cka()


def test_what_one_recording_lacks_is_named(folder, tmp_path):
    few = record(tiny_model(), FACTS, tmp_path / "few.h5", hooks="blocks.1.hook_out")
    with pytest.warns(
        UserWarning, match=r"few.h5 lacks blocks.0.attn.hook_z; \d hooks that"
    ):
        found = compare(folder / "before.h5", few)
    assert found.pair.hooks == ["blocks.1.hook_out"]
