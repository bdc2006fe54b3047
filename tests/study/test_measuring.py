"""A small study measured in depth: tables, against the measures called directly; resume."""

import numpy as np
import pandas as pd
import pytest

from interfere.cli import app
from interfere.errors import InputError
from interfere.measures.comparison import compare
from interfere.measures.probe_transfer import probe_transfer
from interfere.report.mechanisms import mechanism_tables
from interfere.study import measuring
from interfere.study.headline import write_headline
from interfere.study.measuring import measure
from interfere.study.mechanisms import CONTRASTS, FILES, MECHANISMS
from interfere.study.moved_weights import FILE as WEIGHTS
from interfere.study.patched_arms import PATCHING, SHIFT
from interfere.study.results_folder import recordings
from interfere.study.runner import reproduce
from interfere.study.study import load_study

STUDY = """
model: nano
facts: {limit: 2400, exposures: [statements, never]}
categorise: {prompts: 2}
split: {known: 48, unknown: 48, held_out: 450, control: 24, seed: 0}
format: {epochs: 1}
train: {epochs: 3, learning_rate: 3.0e-4}
evaluate: {points: 1, early: [], drift_epochs: [], rank_among: 0}
record: {hooks: ["blocks.2.hook_out"], positions: [subject_last, prompt_last]}
interference: {rank: 4}
arms:
  - {name: SFT}
  - {name: Known only, rows: known}
  - {name: self-distillation, mitigation: self-distillation, settings: {temperature: 1}}
seeds: [0, 1]
keep_weights: true
"""
HOOK = "blocks.2.hook_out"
ABOVE = ("mechanisms", "weights", "patching", "shifts")
"""The other steps have tests of their own."""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERFERE_CACHE", str(folder))
        steps = {name: measuring.STEPS[name] for name in ABOVE}
        patch.setattr(measuring, "STEPS", steps)
        yield folder


@pytest.fixture(scope="module")
def study(home):
    (home / "deep.yaml").write_text(STUDY)
    return load_study(str(home / "deep.yaml"))


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


def test_an_unfinished_study_is_refused(study, home, folder):
    other = study.model_copy(update={"name": "never run"})
    with pytest.raises(InputError, match=r"never run has no results yet; run `interfere"):
        measure(other)
    more = study.model_copy(update={"seeds": (0, 1, 2)})
    with pytest.raises(
        InputError, match=r"3 of 9 runs are not there, among them 'SFT' .*2"
    ):
        measure(more)


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


def test_contrasts_are_differences_of_the_arms(folder):
    table = pd.read_csv(folder / CONTRASTS)
    pair = (table["more"] == "SFT") & (table["less"] == "self-distillation")
    for name in ("drift", "common", "residual", "probe_erased"):
        row = table[pair & (table["measure"] == name)].set_index("position")
        more, less = (
            mechanism(folder, arm, name)["value"] for arm in ("SFT", "self-distillation")
        )
        assert row.loc["subject_last", "value"] == pytest.approx(more - less)
        low, high = row.loc["subject_last", ["low", "high"]]
        assert row.loc["subject_last", "shows"] == (low > 0 or high < 0)
    assert "net_loss_end" in set(table[pair]["measure"])


def test_what_needs_weights_is_there(folder, study):
    patched = pd.read_csv(folder / PATCHING)
    assert set(patched["arm"]) == {"SFT", "self-distillation"}
    assert set(patched["seeds"]) == {2}
    assert set(patched["layer"]) == {0, 1, 2, 3}
    shift = pd.read_csv(folder / SHIFT)
    assert set(shift["position"]) == {"subject_last", "prompt_last"}
    weights = pd.read_csv(folder / WEIGHTS)
    assert len(weights.groupby(["arm", "seed"])) == 6
    assert (weights["norm"] > 0).all()


def test_the_table_prints(folder):
    titles = [str(table.title) for table in mechanism_tables(folder)]
    assert len(titles) == 4
    assert "subject_last" in titles[0]


def test_a_second_call_computes_nothing(folder, study, monkeypatch):
    files = [folder / name for name in (*FILES, PATCHING, SHIFT, WEIGHTS)]
    before = [file.stat().st_mtime_ns for file in files]
    monkeypatch.setattr("interfere.study.kept_models.load_model", None)
    measure(study)
    assert [file.stat().st_mtime_ns for file in files] == before


def test_without_kept_weights_it_says_so(folder, study, home, monkeypatch):
    said: list[str] = []
    (folder / PATCHING).unlink()
    light = study.model_copy(update={"keep_weights": False})
    with pytest.raises(InputError, match=r"6 of 6 runs are not there"):
        measure(light, said.append)  # runs that keep nothing are other runs
    assert not (folder / PATCHING).exists()


def test_it_is_a_command():
    assert "measure" in {command.callback.__name__ for command in app.registered_commands}
