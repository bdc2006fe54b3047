"""A finished study's tables of blame: they hold what the measures say, and are made once."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_study import small_study

from interfere.interventions.gradient_harm import gradient_harm
from interfere.interventions.leave_out import blame_effect
from interfere.measures.predict_forgetting import predict_forgetting
from interfere.measures.predictors import signs
from interfere.study.gradient_tables import FILES, gradient_tables
from interfere.study.leave_out_table import leave_out_table, left_out_by
from interfere.study.new_fact_blame import BLAMERS
from interfere.study.prediction_table import prediction_table
from interfere.study.predictors import forgetting_of, read_predictors
from interfere.study.preparation import prepare
from interfere.study.runner import plan, reproduce
from interfere.training.second_moments import estimate_second_moments

ARMS = "arms=[{name: SFT}, {name: Known only, rows: known}, {name: keys, keys: semantic}]"

# So few facts leave some numbers undefined: NaN with a warning is what is promised then.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    changes = (ARMS, "workers=1", "leave_out.draws=2")
    with small_study(tmp_path_factory.mktemp("cache"), *changes) as small:
        yield small


@pytest.fixture(scope="module")
def folder(study):
    return reproduce(study)


@pytest.fixture(scope="module")
def prepared(study, folder):
    return prepare(study)


@pytest.fixture(scope="module")
def runs(prepared):
    return [(job, job.folder) for job in plan(prepared)]


def take_steps(prepared, runs, folder):
    gradient_tables(two_seeds(prepared), runs, folder, print)
    prediction_table(prepared, runs, folder, print)
    leave_out_table(prepared, runs, folder, print)


def two_seeds(prepared):
    """Gradients are taken before any run, so that a second seed needs none."""
    study = prepared.study.model_copy(update={"seeds": (0, 1)})
    return replace(prepared, study=study)


@pytest.fixture(scope="module")
def said():
    return []


@pytest.fixture(scope="module")
def gradients(prepared, runs, folder, said):
    before = read_predictors(folder)
    assert "token_overlap" in before
    assert not any(name.startswith("gradient") for name in before)
    gradient_tables(two_seeds(prepared), runs, folder, said.append)
    return {name: folder / name for name in FILES}


@pytest.fixture(scope="module")
def left_out(prepared, runs, folder):
    leave_out_table(prepared, runs, folder, lambda _: None)
    return pd.read_csv(folder / "leave_out.csv")


@pytest.fixture(scope="module")
def harm(prepared):
    """Measured directly, of the semantic keys under seed 1."""
    new = prepared.new_facts("semantic", 1)
    trained = prepared.split.known + new
    moments = estimate_second_moments(prepared.start, trained, batch_size=32)
    return gradient_harm(
        prepared.start, prepared.split.held_out, new, second_moments=moments
    )


def test_risk_is_what_the_measure_says(gradients, harm, prepared):
    table = pd.read_parquet(gradients["gradient_risk.parquet"])
    assert len(table) == 2 * 2 * 64
    own = table[(table["keys"] == "semantic") & (table["seed"] == 1)]
    assert own["fact"].tolist() == prepared.split.held_out.ids
    for name, direct in harm.items():
        np.testing.assert_allclose(own[f"gradient_risk_{name}"], direct.risk, rtol=1e-9)
        np.testing.assert_allclose(own[f"gradient_cosine_{name}"], direct.cosine, rtol=1e-9)


def test_natural_subjects_are_the_same_under_every_seed(gradients):
    table = pd.read_parquet(gradients["gradient_risk.parquet"])
    by_seed = [
        own.drop(columns="seed").reset_index(drop=True)
        for _, own in table[table["keys"] == "natural"].groupby("seed")
    ]
    pd.testing.assert_frame_equal(*by_seed)
    keys = table[table["keys"] == "semantic"].groupby("seed")["gradient_risk_sgd"]
    assert keys.first().nunique() == 2


def test_blame_is_what_the_measure_says(gradients, harm, prepared):
    table = pd.read_parquet(gradients["gradient_blame.parquet"])
    chosen = (table["keys"] == "semantic") & (table["seed"] == 1)
    for name, direct in harm.items():
        own = table[chosen & (table["optimizer"] == name)]
        assert own["blame"].is_monotonic_decreasing
        by_fact = own.set_index("fact").loc[prepared.new_facts("semantic", 1).ids]
        np.testing.assert_allclose(by_fact["blame"], direct.blame, rtol=1e-9)


def test_pairs_to_draw_are_the_plain_arms_and_add_up_to_the_risk(gradients, prepared):
    pairs = pd.read_parquet(gradients["gradient_kernel.parquet"])
    assert len(pairs) == 2 * 64 * 48
    assert set(pairs["new"]) == set(prepared.split.unknown.ids)
    table = pd.read_parquet(gradients["gradient_risk.parquet"])
    own = table[(table["keys"] == "natural") & (table["seed"] == 0)].set_index("fact")
    for name in ("sgd", "adamw"):
        sums = pairs[pairs["optimizer"] == name].groupby("old")["product"].sum()
        found = np.corrcoef(-sums[own.index], own[f"gradient_risk_{name}"])[0, 1]
        print(name, found)
        assert found > 0.9


def test_the_sketch_agrees_with_an_exact_block_and_says_so(gradients, said):
    table = pd.read_csv(gradients["gradient_agreement.csv"])
    assert table["optimizer"].tolist() == ["sgd", "adamw"]
    assert (table[["old", "new"]] == 32).all(axis=None)
    print(table)
    assert (table[["product", "cosine"]] > 0.95).all(axis=None)
    assert said[-1].endswith("with an exact block of 32 × 32")


def test_prediction_is_what_the_measure_says_of_every_arm(
    gradients, prepared, runs, folder
):
    prediction_table(prepared, runs, folder, lambda _: None)
    table = pd.read_csv(folder / "prediction.csv")
    assert table["arm"].unique().tolist() == ["SFT", "keys"]
    assert {"gradient_risk_adamw", "token_overlap", "overlap"} <= set(table["predictor"])
    facts = pd.read_parquet(folder / "facts.parquet")
    given, columns = forgetting_of(prepared.study, facts, read_predictors(folder), "keys")
    direct = predict_forgetting(given, signs(columns)).table
    own = table[table["arm"] == "keys"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[direct.columns], direct, rtol=1e-9)


def test_leaving_out_is_what_the_measure_says_by_every_predictor(left_out, folder):
    assert left_out["blame"].unique().tolist() == list(BLAMERS)
    assert (left_out["left_out"] == 10).all()
    outcomes = pd.read_parquet(folder / "leave_out.parquet")
    for name, own in outcomes.groupby("blame"):
        for measure in ("net_loss", "nats"):
            direct = blame_effect(own, measure)
            rows = left_out[(left_out["blame"] == name) & (left_out["measure"] == measure)]
            rows = rows.set_index("quantity")
            for quantity in rows.index:
                interval = getattr(direct, quantity)
                found = rows.loc[quantity, ["value", "low", "high", "smallest"]]
                expected = (interval.value, interval.low, interval.high, interval.smallest)
                assert found.tolist() == pytest.approx(expected, nan_ok=True)
            assert rows.loc["beyond_random", "p_value"] == direct.p_value
            random = rows.loc["without_random"]
            assert random["draws_low"] <= random["value"] <= random["draws_high"]


def test_random_sets_are_the_same_for_every_predictor(left_out, folder):
    outcomes = pd.read_parquet(folder / "leave_out.parquet")
    wide = outcomes.pivot_table(
        index=["left_out", "draw", "seed", "fact"], columns="blame", values="after"
    )
    same = (wide.nunique(axis=1) == 1).groupby("left_out").all()
    assert same["none"]
    assert same["random"]
    assert not same["blamed"]


def test_random_sets_are_drawn_anew_where_the_blamed_are(prepared, monkeypatch):
    kept = {}

    def keep(prepared, arm, left, say):
        kept[arm] = list(left.values())
        return pd.DataFrame()

    monkeypatch.setattr("interfere.study.leave_out_table.run_left_out", keep)
    study = two_seeds(prepared)
    for arm in study.study.arms:
        if arm.trains_new:
            left_out_by(study, arm, "nearness")
    natural, redrawn = kept["SFT"], kept["keys"]
    assert ids(natural[0].blamed) == ids(natural[1].blamed)
    assert list(map(ids, natural[0].random)) == list(map(ids, natural[1].random))
    assert ids(redrawn[0].blamed) != ids(redrawn[1].blamed)
    answers = [[answers_of(split) for split in sets.random] for sets in redrawn]
    assert answers[0] != answers[1]


def ids(split):
    return split.unknown.ids


def answers_of(split):
    return [fact.answer for fact in split.unknown]


def test_a_second_call_computes_nothing(
    gradients, left_out, prepared, runs, folder, monkeypatch
):
    prediction_table(prepared, runs, folder, lambda _: None)
    names = [*FILES, "prediction.csv", "leave_out.csv", "leave_out.parquet"]
    times = [(folder / name).stat().st_mtime_ns for name in names]
    take_steps(prepared, runs, folder)
    assert [(folder / name).stat().st_mtime_ns for name in names] == times
    # New results: tables are made again, from kernels and runs that are kept.
    for name in ("gradient_harm", "fact_gradients"):
        monkeypatch.setattr(f"interfere.study.kept_gradients.{name}", None)
    monkeypatch.setattr("interfere.study.run._execute", None)
    kept = [(folder / name).read_bytes() for name in names]
    os.utime(folder / "results.parquet")
    assert not any(c.startswith("gradient") for c in read_predictors(folder))
    take_steps(prepared, runs, folder)
    assert [(folder / name).read_bytes() for name in names] == kept
    assert all(
        after > before
        for before, after in zip(
            times, [(folder / name).stat().st_mtime_ns for name in names], strict=True
        )
    )


def test_other_draws_are_made_and_the_runs_that_are_there_kept(
    left_out, prepared, runs, folder
):
    fewer = prepared.study.leave_out.model_copy(update={"draws": 1})
    study = prepared.study.model_copy(update={"leave_out": fewer})
    leave_out_table(replace(prepared, study=study), runs, folder, lambda _: None)
    table = pd.read_csv(folder / "leave_out.csv")
    assert (table["draws"] == 1).all()
    leave_out_table(prepared, runs, folder, lambda _: None)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "leave_out.csv"), left_out)


def test_a_study_without_new_facts_or_control_says_so(prepared, folder, tmp_path):
    (tmp_path / "results.parquet").write_bytes(b"")
    arms = prepared.study.arms
    alone = prepared.study.model_copy(update={"arms": arms[1:2]})
    unheld = prepared.study.model_copy(update={"arms": arms[:1]})
    lines: list[str] = []
    for step in (gradient_tables, prediction_table, leave_out_table):
        step(replace(prepared, study=alone), [], tmp_path, lines.append)
    prediction_table(replace(prepared, study=unheld), [], tmp_path, lines.append)
    assert [line.split(":")[0] for line in lines] == [
        "no arm learns new facts",
        "no arm learns new facts",
        "no plain arm learns new facts",
        "no Known-only control to hold forgetting against",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["results.parquet"]
