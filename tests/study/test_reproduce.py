"""The whole way on nano, small: prepare, train, record, measure, draw, resume."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from small_study import small_study

from interfere.report.figures import draw_all, scripts
from interfere.report.markdown import markdown
from interfere.report.study_tables import study_tables
from interfere.study.frontier import read_frontier, write_comparison
from interfere.study.headline import CONTRAST_COLUMNS, contrasts, write_headline
from interfere.study.results import ACCURACIES, FACTORS
from interfere.study.runner import reproduce

STUDY = """
model: nano
facts: {limit: 1200, exposures: [statements, never]}
categorise: {prompts: 2}
split: {known: 64, unknown: 64, held_out: 90, control: 40, seed: 0}
format: {epochs: 1}
train: {epochs: 2}
evaluate: {points: 2, early: [], drift_epochs: [1], rank_among: 5}
record: {hooks: ["blocks.*.hook_out"], positions: [subject_last, prompt_last]}
interference: {rank: 4}
arms:
  - {name: SFT}
  - {name: Known only, rows: known}
  - {name: self-distillation, mitigation: self-distillation, settings: {temperature: 1}}
  - {name: attention only, mitigation: attention-only}
  - {name: keys, keys: semantic}
seeds: [0]
"""

# So few facts leave some subspaces undefined: NaN with a warning is what is promised then.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def study(home):
    with small_study(home, text=STUDY) as small:
        yield small


@pytest.fixture(scope="module")
def folder(study):
    return reproduce(study)


def test_results_have_every_factor_and_metric(folder):
    results = pd.read_parquet(folder / "results.parquet")
    assert list(results.columns) == [*FACTORS, "metric", "value"]
    expected = {"task", "plasticity", "stability", "net_loss", "drift", "drift_base", "cka"}
    expected |= {
        "behavioural_interference",
        "interference_size",
        "rank_end_median",
        "overlap",
    }
    assert expected <= set(results["metric"])
    asked = results[results["metric"] == "nearest_subject_share"]
    assert set(asked["arm"]) == set(results["arm"]) - {"format checkpoint"}


def test_facts_say_what_was_asked_when(folder):
    facts = pd.read_parquet(folder / "facts.parquet")
    assert {
        "run",
        "arm",
        "seed",
        "step",
        "set",
        "fact",
        "answer",
        "right",
        "logprob",
    } <= set(facts.columns)
    assert set(facts["set"]) <= set(ACCURACIES)
    held = facts[(facts["set"] == "held_out") & (facts["arm"] == "SFT")]
    assert held.groupby("step")["fact"].nunique().tolist() == [90, 90, 90]
    final = held[held["step"] == held["step"].max()]
    assert final["response"].str.len().gt(0).all()
    assert held.groupby("step")["confidence"].count().tolist() == [90, 0, 90]
    assert held["confidence"].dropna().between(0, 1).all()


def test_every_arm_starts_from_one_checkpoint(folder):
    facts = pd.read_parquet(folder / "facts.parquet")
    start = facts[(facts["set"] == "held_out") & (facts["step"] == 0)]
    by_arm = start.pivot_table(index="fact", columns="arm", values="logprob")
    np.testing.assert_allclose(by_arm.to_numpy().T, by_arm.to_numpy().T[:1].repeat(5, 0))


def test_the_control_takes_as_many_steps(folder):
    facts = pd.read_parquet(folder / "facts.parquet")
    assert facts.groupby("arm")["step"].max().nunique() == 1


def test_a_finished_run_is_never_run_again(folder, study, home):
    manifests = sorted(home.glob("runs/*/manifest.json"))
    # What is measured of the results is not made stale by having them made again.
    kept = [*manifests, *sorted(folder.glob("*.parquet"))]
    times = [path.stat().st_mtime_ns for path in kept]
    assert reproduce(study) == folder
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_an_unfinished_run_starts_anew(folder, study, home):
    runs = {
        json.loads(p.read_text()).get("arm"): p for p in home.glob("runs/*/manifest.json")
    }
    before = pd.read_parquet(runs["SFT"].parent / "facts.parquet")
    runs["SFT"].unlink()
    (runs["SFT"].parent / "facts.parquet").write_text("torn")
    reproduce(study)
    after = pd.read_parquet(runs["SFT"].parent / "facts.parquet")
    pd.testing.assert_frame_equal(before, after)


def test_what_measures_for_long_is_drawn_on_request(folder, tmp_path, monkeypatch):
    code = "def main(study, out):\n    pass\n"
    (tmp_path / "quick.py").write_text(code)
    (tmp_path / "slow.py").write_text("DEEP = True\n" + code)
    paths = sorted(tmp_path.glob("*.py"))
    monkeypatch.setattr("interfere.report.figures.scripts", lambda: paths)
    said: list[str] = []
    assert [path.stem for path in draw_all(folder.name, said.append)] == ["quick"]
    assert said[-1] == "slow left out: it measures for long; --deep draws it"
    drawn = draw_all(folder.name, deep=True)
    assert [path.stem for path in drawn] == ["quick", "slow"]


def test_tables_are_printed_again(folder):
    write_headline(folder)
    write_comparison(folder)
    titles = [str(table.title) for table in study_tables(folder)]
    assert [title.split()[0] for title in titles] == [
        "small:",
        "difference",
        "mitigations:",
    ]
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.csv")}
    headline = pd.read_csv(folder / "headline.csv")
    (folder / "headline.csv").write_text("arm\nof older results\n")
    os.utime(folder / "headline.csv", ns=(0, 0))
    lines = markdown(study_tables(folder)[0]).splitlines()
    assert pd.read_csv(folder / "headline.csv").equals(headline)
    assert times["comparison.csv"] == (folder / "comparison.csv").stat().st_mtime_ns
    heads = [cell.strip() for cell in lines[2].strip("|").split("|")]
    rows = [
        dict(zip(heads, line.strip("| ").split(" | "), strict=True)) for line in lines[4:]
    ]
    assert [row["arm"] for row in rows] == headline["arm"].tolist()
    assert [row["stability"] for row in rows] == [f"{x:.3f}" for x in headline["stability"]]
    several = headline["seeds"] > 1
    assert [row["seeds"] for row in rows] == [
        *headline["net_loss_end_seeds"].where(several, "–")
    ]


def test_a_study_without_pairs_has_a_table_of_none(folder):
    assert contrasts(folder, []).columns.tolist() == CONTRAST_COLUMNS


def test_headline_and_figures(folder, home):
    headline, contrasts = write_headline(folder)
    assert headline["arm"].tolist()[:2] == ["SFT", "Known only"]
    assert (headline["net_loss_end"].abs() <= 1).all()
    assert {"SFT"} <= set(contrasts["more"])
    compared = write_comparison(folder).set_index("arm")
    assert "Known only" not in compared.index
    assert compared.loc["SFT", ["area_gain", "area_gain_low", "area_gain_high"]].eq(0).all()
    assert compared.loc["SFT", ["forwards", "relative_seconds"]].eq(1).all()
    assert compared["area"].between(0, 1.2).all()
    assert (compared["area_low"] <= compared["area_high"]).all()
    curves = read_frontier(folder)
    ends = curves[curves["step"] == curves["step"].max()].set_index("arm")
    learnt = headline.set_index("arm")["plasticity"]
    assert ends["plasticity"].to_dict() == pytest.approx(learnt[ends.index].to_dict())
    assert (curves[curves["step"] == 0]["kept"] == 1).all()
    drawn = draw_all(folder.name, deep=True)
    # Of 90 facts no answer has the 20 that a probe needs; no study writes the other tables.
    missing = {"probe_transfer", "patching_heat_map", "gradient_kernel"}
    expected = {path.stem for path in scripts()} - missing
    assert {path.stem for path in drawn} == expected
    for path in drawn:
        assert path.stat().st_size > 5000
        assert path.with_suffix(".pdf").exists()
        assert len(pd.read_csv(path.with_suffix(".csv")))
