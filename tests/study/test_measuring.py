"""A small study measured in depth: tables, against the measures called directly; resume."""

import os
from io import StringIO
from shutil import copyfile

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from small_study import small_study

from interfere.cli import app
from interfere.errors import InputError
from interfere.measures.comparison import compare
from interfere.measures.folds import LEAST
from interfere.measures.holm import holm
from interfere.measures.movement import PARTS
from interfere.measures.probe_transfer import probe_transfer
from interfere.report.mechanisms import mechanism_tables
from interfere.study import measuring
from interfere.study.headline import read_headline, write_headline
from interfere.study.kept_models import weights_are_kept
from interfere.study.measuring import measure
from interfere.study.mechanisms import CONTRASTS, FILES, MECHANISMS, mechanisms
from interfere.study.moved_weights import FILE as WEIGHTS
from interfere.study.patched_arms import PATCHING, SHIFT, some_blocks
from interfere.study.preparation import prepare
from interfere.study.repaired_arms import FILE as REPAIRS
from interfere.study.results_folder import recordings
from interfere.study.runner import plan, reproduce
from interfere.study.study import Study

CHANGES = (
    "facts.limit=2400",
    "split.held_out=450",
    "train.epochs=3",
    "record.positions=[subject_last, prompt_last]",
    "arms=[{name: SFT}, {name: Known only, rows: known}, {name: self-distillation, "
    "mitigation: self-distillation, settings: {temperature: 1}}]",
    "seeds=[0, 1]",
    "keep_weights=true",
)
ABOVE = ("mechanisms", "weights", "patching", "shifts", "repairs")
"""The other steps have tests of their own."""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    steps = {name: measuring.STEPS[name] for name in ABOVE}
    with (
        small_study(tmp_path_factory.mktemp("cache"), *CHANGES) as small,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(measuring, "STEPS", steps)
        yield small


@pytest.fixture(scope="module")
def folder(study):
    write_headline(reproduce(study))
    return measure(study)


@pytest.fixture(scope="module")
def changes(folder):
    """Held-out facts before and after, by arm: a comparison a seed."""
    index = recordings(folder)
    held = index[index["set"] == "held_out"]
    start = held[held["when"] == "before"]["path"].iloc[0]
    after = held[held["when"] == "after"]
    return {
        arm: [compare(start, path) for path in rows["path"]]
        for arm, rows in after.groupby("arm")
    }


def mechanism(folder, arm, measure, position="subject_last"):
    table = pd.read_csv(folder / MECHANISMS)
    at = (table["arm"] == arm) & (table["measure"] == measure)
    rows = table[at & (table["position"] == position)]
    assert len(rows) == 1
    return rows.iloc[0]


def arm_rows(folder, arm):
    table = pd.read_csv(folder / MECHANISMS)
    return table[table["arm"] == arm]


def test_an_unfinished_study_is_refused(study, folder):
    other = study.model_copy(update={"name": "never run"})
    with pytest.raises(InputError, match=r"never run has no results yet; run `interfere"):
        measure(other)


@pytest.mark.parametrize(
    "change",
    [{"seeds": (0,)}, {"keep_weights": False}, {"interference": {"rank": 3}}],
    ids=lambda change: next(iter(change)),
)
def test_results_of_other_settings_are_refused(study, folder, change, monkeypatch):
    monkeypatch.setattr(measuring, "prepare", None)  # before anything is trained
    content = study.model_dump() | change
    with pytest.raises(InputError, match=f"with another {next(iter(change))} .*same sett"):
        measure(Study.model_validate(content))


def test_missing_runs_are_named(study, folder, monkeypatch):
    monkeypatch.setattr(measuring, "is_finished", lambda path: False)
    with pytest.raises(
        InputError, match=r"6 of 6 runs are not there, among them 'SFT' .* 0"
    ):
        measure(study)


def test_a_step_that_cannot_be_taken_does_not_end_the_others(study, folder, monkeypatch):
    taken: list[str] = []
    said: list[str] = []

    def refuse(prepared, runs, folder, say):
        raise InputError("too few facts")

    steps = {"first": refuse, "second": lambda *given: taken.append("second")}
    monkeypatch.setattr(measuring, "STEPS", steps)
    measure(study, said.append)
    assert "first left out: too few facts" in said
    assert taken == ["second"]


def test_a_step_may_be_skipped(study, folder, monkeypatch):
    taken: list[str] = []
    steps = {name: lambda *given, name=name: taken.append(name) for name in ("a", "b")}
    monkeypatch.setattr(measuring, "STEPS", steps)
    measure(study, skip=["a"])
    assert taken == ["b"]
    with pytest.raises(InputError, match="no step is called 'c'; there are a, b"):
        measure(study, skip=["c"])


def test_drift_is_the_comparisons(folder, changes):
    row = mechanism(folder, "SFT", "drift")
    tables = [change.drift() for change in changes["SFT"]]
    each = [t[t["position"] == "subject_last"]["drift"].mean() for t in tables]
    assert row["value"] == pytest.approx(np.mean(each))
    assert (row["seeds_low"], row["seeds_high"]) == pytest.approx((min(each), max(each)))
    control = mechanism(folder, "Known only", "drift")["value"]
    beyond = mechanism(folder, "SFT", "drift_beyond_control")["value"]
    assert beyond == pytest.approx(row["value"] - control)


def test_the_common_share_is_the_splits(folder, changes):
    parts = {part: mechanism(folder, "SFT", part) for part in ("common", "whole")}
    splits = [change.split(per_fact=True) for change in changes["SFT"]]
    at = [t[t["position"] == "subject_last"] for t in splits]
    common = sum((t["common"] * t["length"] ** 2).sum() for t in at)
    whole = sum((t["length"] ** 2).sum() for t in at)
    assert parts["common"]["value"] / parts["whole"]["value"] == pytest.approx(
        common / whole
    )


def test_probes_are_the_transfers(folder, changes):
    found = [probe_transfer(change) for change in changes["SFT"]]
    rows = [
        t[(t["position"] == "subject_last") & (t["among"] == "all")].iloc[0] for t in found
    ]
    for name in ("before", "erased", "misread"):
        row = mechanism(folder, "SFT", f"probe_{name}")
        assert row["value"] == pytest.approx(np.mean([r[name] for r in rows]))


def test_gaps_of_forgotten_facts_are_the_transfers(folder, changes):
    tables = [probe_transfer(change) for change in changes["SFT"]]
    at = [
        t[(t["position"] == "subject_last") & (t["among"] == "forgotten")] for t in tables
    ]
    rows = [t.iloc[0] for t in at]
    counts = [r["facts"] for r in rows]
    for name in ("erased", "misread"):
        expected = np.average([r[name] for r in rows], weights=counts)
        row = mechanism(folder, "SFT", f"probe_{name}_forgotten")
        assert row["value"] == pytest.approx(expected)


def test_interference_is_the_results_and_its_parts_add_up(folder):
    results = pd.read_parquet(folder / "results.parquet")
    for arm in ("SFT", "self-distillation"):
        own = results[(results["arm"] == arm) & (results["metric"] == "interference_size")]
        names = ("size", "common", "residual")
        size, *parts = (
            mechanism(folder, arm, f"interference_{name}")["value"] for name in names
        )
        assert size == pytest.approx(own["value"].mean(), rel=1e-4)
        assert sum(parts) == pytest.approx(size)
    assert "interference_size" not in set(arm_rows(folder, "Known only")["measure"])


@pytest.mark.parametrize("name", ["behavioural_interference", "plasticity"])
def test_behaviour_is_the_results(folder, name):
    results = pd.read_parquet(folder / "results.parquet")
    own = results[(results["arm"] == "SFT") & (results["metric"] == name)]
    last = own[own["step"] == own["step"].max()]
    row = arm_rows(folder, "SFT").set_index("measure").loc[name]
    assert row["value"] == pytest.approx(last["value"].mean())
    assert row["low"] <= row["value"] <= row["high"]


def test_a_study_without_these_positions_says_so(study, folder, monkeypatch, tmp_path):
    monkeypatch.setattr("interfere.study.mechanisms.POSITIONS", ("nowhere",))
    for name in ("study.json", "results.parquet", "facts.parquet"):
        copyfile(folder / name, tmp_path / name)
    prepared = prepare(study)
    said: list[str] = []
    mechanisms(
        prepared, [(job, job.folder) for job in plan(prepared)], tmp_path, said.append
    )
    assert said[-1].startswith("no movement or probes: the study records")
    measures = set(pd.read_csv(tmp_path / MECHANISMS)["measure"])
    assert {"net_loss_end", "interference_size"} <= measures
    assert "drift" not in measures


def test_contrasts_are_differences_of_the_arms(folder):
    for arm in ("SFT", "self-distillation"):
        beyond = [mechanism(folder, arm, f"beyond_{part}")["value"] for part in PARTS]
        assert sum(beyond[:2]) == pytest.approx(beyond[2])
    table = pd.read_csv(folder / CONTRASTS)
    for _, rows in table.groupby(["more", "less"]):
        assert rows["p_holm"].to_numpy() == pytest.approx(
            holm(rows["p"].to_numpy()), nan_ok=True
        )
    clear = table[(table["p"] < 0.04) | (table["p"] > 0.06)]
    assert (clear["shows"] == (clear["p"] < 0.05)).all()
    pair = (table["more"] == "SFT") & (table["less"] == "self-distillation")
    parts = ("common", "beyond_residual", "interference_common", "interference_size")
    for name in ("drift", "probe_erased", *parts):
        row = table[pair & (table["measure"] == name)].set_index("position")
        more, less = (
            mechanism(folder, arm, name)["value"] for arm in ("SFT", "self-distillation")
        )
        assert row.loc["subject_last", "value"] == pytest.approx(more - less)
        low, high = row.loc["subject_last", ["low", "high"]]
        assert row.loc["subject_last", "shows"] == (low > 0 or high < 0)
    whole = {"net_loss_end", "plasticity", "behavioural_interference"}
    assert whole <= set(table[pair]["measure"])


def test_what_needs_weights_is_there(folder, study):
    patched = pd.read_csv(folder / PATCHING)
    assert set(patched["arm"]) == {"SFT", "self-distillation"}
    assert set(patched["seeds"]) == {2}
    assert set(patched["layer"]) == {0, 1, 2, 3}
    shift = pd.read_csv(folder / SHIFT)
    assert set(shift["position"]) == {"subject_last", "prompt_last"}
    repaired = pd.read_csv(folder / REPAIRS).set_index(["arm", "repair", "measure"])
    top, random = (
        repaired.loc[("SFT", f"{which} direction out", "plasticity"), "value"]
        for which in ("top", "random")
    )
    assert top < random <= 0
    learnt = repaired.loc[("SFT", "reminder", "learnt")]
    assert learnt["seeds"] in (1, 2)
    assert 0.5 < learnt["value"] <= 1
    recovered, control, beyond = (
        repaired.loc[("SFT", "reminder", name), "value"]
        for name in ("recovered", "control", "beyond_control")
    )
    assert recovered - control == pytest.approx(beyond)
    guessed, beyond = (
        repaired.loc[("SFT", "reminder", name), "value"]
        for name in ("guessed", "beyond_guessed")
    )
    assert 0 <= guessed < 1
    assert recovered - guessed == pytest.approx(beyond)
    weights = pd.read_csv(folder / WEIGHTS)
    assert len(weights.groupby(["arm", "seed"])) == 6
    assert (weights["norm"] > 0).all()


def test_probes_say_of_how_many_facts(folder):
    table = pd.read_csv(folder / MECHANISMS).set_index("measure")
    every, probed, lost = (
        table.loc[name, ["facts", "answers"]].drop_duplicates()
        for name in ("drift", "probe_erased", "probe_erased_forgotten")
    )
    assert len(every) == len(probed) == 1
    assert probed["facts"].iloc[0] >= LEAST * probed["answers"].iloc[0]
    assert (probed.to_numpy() < every.to_numpy()).all()
    assert (lost["facts"] < probed["facts"].iloc[0]).all()


def test_the_headline_has_the_same_intervals(folder):
    row = read_headline(folder).set_index("arm").loc["SFT"]
    table = pd.read_csv(folder / MECHANISMS).set_index(["arm", "measure"])
    for name in ("behavioural_interference", "plasticity"):
        found = row[[name, f"{name}_low", f"{name}_high"]].tolist()
        near = table.loc[("SFT", name), ["value", "low", "high"]].tolist()
        assert found == pytest.approx(near, rel=0.03, abs=0.005)
    size = table.loc[("SFT", "interference_size"), "value"]
    assert row["interference_size"] == pytest.approx(size)
    assert row["interference_size_low"] < size < row["interference_size_high"]
    assert row["stability_low"] < row["stability"] < row["stability_high"]


def test_the_table_prints(folder):
    titles = [str(table.title) for table in mechanism_tables(folder)]
    assert len(titles) == 8  # four kinds of measures, of arms and of their differences
    assert all(title.startswith("small: ") for title in titles)
    printed = StringIO()
    for table in mechanism_tables(folder):
        Console(file=printed, width=400).print(table)
    lines = printed.getvalue().splitlines()
    row = mechanism(folder, "SFT", "drift")
    own = [line for line in lines if "│ SFT " in line and "subject_last" in line]
    assert any(
        f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in x for x in own
    )


def test_tables_older_than_the_results_are_not_shown(folder, tmp_path):
    for name in ("results.parquet", *FILES):
        copyfile(folder / name, tmp_path / name)
    assert mechanism_tables(tmp_path)
    os.utime(tmp_path / FILES[0], ns=(0, 0))
    assert mechanism_tables(tmp_path) == []


def test_a_second_call_computes_nothing(folder, study, monkeypatch):
    files = [folder / name for name in (*FILES, PATCHING, SHIFT, WEIGHTS, REPAIRS)]
    before = [file.stat().st_mtime_ns for file in files]
    monkeypatch.setattr("interfere.study.kept_models.load_model", None)
    measure(study)
    assert [file.stat().st_mtime_ns for file in files] == before


def test_without_kept_weights_it_says_so(study):
    said: list[str] = []
    assert weights_are_kept(study, "patching", said.append)
    light = study.model_copy(update={"keep_weights": False})
    assert not weights_are_kept(light, "patching", said.append)
    assert said == [
        "no patching: the study's runs don't keep their weights (keep_weights: true)"
    ]


def test_net_loss_is_the_headlines(folder):
    head = pd.read_csv(folder / "headline.csv").set_index("arm")
    table = pd.read_csv(folder / MECHANISMS)
    for name in ("net_loss_end", "net_loss_end_beyond"):
        rows = table[table["measure"] == name].set_index("arm")
        assert len(rows) == (3 if name == "net_loss_end" else 2)
        for arm, row in rows.iterrows():
            assert row["value"] == pytest.approx(head.loc[arm, name])
            assert row["low"] == pytest.approx(head.loc[arm, f"{name}_low"])
            assert row["seeds_low"] <= row["value"] <= row["seeds_high"]


def test_it_is_a_command():
    assert "measure" in {command.callback.__name__ for command in app.registered_commands}


@pytest.mark.parametrize(("layers", "blocks"), [(4, [0, 1, 2, 3]), (30, [0, 3, 6, 10, 13])])
def test_deep_models_are_patched_at_some_blocks(layers, blocks):
    names = some_blocks(layers, ["blocks.*.hook_out"])
    assert names[: len(blocks)] == [f"blocks.{block}.hook_out" for block in blocks]
    assert names[-1] == f"blocks.{layers - 1}.hook_out"
    assert len(names) == min(layers, 10)
