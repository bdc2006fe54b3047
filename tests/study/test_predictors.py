"""Each fact meets its own predictors and outcomes, whatever the order of rows."""

import os

import numpy as np
import pandas as pd
import pytest

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.measures.fact_overlap import fact_overlap, new_distance
from interfere.measures.predictors import PREDICTORS, predictor, signs
from interfere.measures.token_overlap import subject_overlap
from interfere.study.predictors import (
    forgetting_of,
    join,
    known_before,
    like_new_subjects,
    near_new_facts,
    read_predictors,
)
from interfere.study.study import Study

STUDY = Study(
    name="made",
    arms=(
        {"name": "SFT"},
        {"name": "keys", "keys": "hex"},
        {"name": "control", "rows": "known"},
    ),
    seeds=(0, 1),
)


def asked() -> pd.DataFrame:
    """Three facts; log-probability -(arm · 100 + seed · 10 + step + place / 10)."""
    rows = []
    for number, arm in enumerate(("SFT", "keys", "control")):
        for seed in (0, 1):
            for step in (0, 5, 9):
                for place, fact in enumerate("abc"):
                    score = -(100 * number + 10 * seed + step + place / 10)
                    rows.append((arm, seed, step, "held_out", fact, f"land {fact}", score))
                    rows.append((arm, seed, step, "known", fact, f"land {fact}", 1.0))
    names = ["arm", "seed", "step", "set", "fact", "answer", "logprob"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(right=(table["step"] < 9) | (table["fact"] == "a"))


PREDICTED = pd.DataFrame(
    {
        "keys": np.repeat(["natural", "hex"], 6),
        "seed": [0, 0, 0, 1, 1, 1] * 2,
        "fact": list("cab") * 4,
        "risk": range(12),
        "gap": [1.0, np.nan] * 6,
    }
)


def test_outcomes_are_the_arms_and_the_controls():
    table, columns = forgetting_of(STUDY, asked(), PREDICTED, "keys")
    row = table[(table["seed"] == 1) & (table["fact"] == "b")].iloc[0]
    assert (row["before"], row["after"]) == (-110.1, -119.1)
    assert row["control"] == -219.1
    assert row["right_before"]
    assert not row["right_after"]
    assert row["risk"] == 11  # hex, seed 1, b
    assert len(table) == 6
    assert columns == ["risk"]  # not every fact has a gap


def test_arms_that_learn_nothing_and_studies_without_control_are_refused():
    with pytest.raises(
        InputError, match="'control' learns no new facts; these do: SFT, keys"
    ):
        forgetting_of(STUDY, asked(), PREDICTED, "control")
    alone = STUDY.model_copy(update={"arms": STUDY.arms[:2]})
    with pytest.raises(InputError, match="no Known-only control"):
        forgetting_of(alone, asked(), PREDICTED, "SFT")


def test_further_columns_join_by_fact_or_by_all():
    by_fact = pd.DataFrame({"fact": list("abc"), "tokens": [1, 2, 3]})
    found = join(PREDICTED, by_fact)
    assert found["tokens"].tolist() == [3, 1, 2] * 4
    by_seed = PREDICTED[["keys", "seed", "fact"]].assign(kernel=range(12))
    mixed = by_seed.sample(frac=1, random_state=0)
    assert join(PREDICTED, mixed)["kernel"].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (pd.DataFrame({"tokens": [1]}), "need the column fact"),
        (pd.DataFrame({"fact": list("aabc"), "tokens": 1}), "twice"),
        (pd.DataFrame({"fact": list("ac"), "tokens": 1}), "lack the fact b"),
        (pd.DataFrame({"fact": list("abc"), "risk": 1}), "predictor risk is there already"),
    ],
)
def test_what_does_not_join_is_refused(extra, text):
    with pytest.raises(InputError, match=text):
        join(PREDICTED, extra)


def test_what_is_known_before_is_each_facts_own():
    facts = FactSet(
        (
            Fact("b", "B", "P17", "X", popularity=999),
            Fact("a", "A", "P17", "Y"),
        ),
        "made",
    )
    knowledge = pd.DataFrame(
        {"id": list("abc"), "margin": [1.0, 2, 3], "p_correct": [0.1, 0.2, 0.3]}
    )
    found = known_before(facts, knowledge).set_index("fact")
    assert found.loc["b"].tolist() == [2, 0.2, pytest.approx(3)]
    assert found.loc["a", "margin"] == 1
    assert np.isnan(found.loc["a", "popularity"])


def test_nearness_is_read_at_the_declared_place(nano, tmp_path):
    def some(start: int, count: int) -> FactSet:
        names = [f"{chr(65 + i % 26)}{chr(97 + i // 3 % 26)}ville" for i in range(80)]
        return FactSet(
            tuple(
                Fact(f"{start + i}", names[start + i] + "x" * (i % 3), "P17", "France")
                for i in range(count)
            ),
            "made",
        )

    sets = {"old": some(0, 30), "new": some(30, 20), "control": some(50, 12)}
    kept = {
        name: record(nano, facts, tmp_path / f"{name}.h5", positions=("subject_last",))
        for name, facts in sets.items()
    }
    place = ("blocks.1.hook_out", "subject_last")
    options = {"hook": place[0], "position": place[1], "rank": 3}
    found = near_new_facts(kept["old"], kept["new"], kept["control"], **options)
    x, y, z = (kept[name][place].numpy() for name in ("old", "new", "control"))
    assert found["fact"].tolist() == sets["old"].ids
    assert found["overlap"].tolist() == fact_overlap(x, y, z, rank=3).tolist()
    assert found["new_distance"].tolist() == new_distance(x, y, neighbours=10).tolist()
    alone = near_new_facts(kept["old"], kept["new"], None, **options)
    assert "overlap" not in alone


def test_subjects_are_alike_by_their_tokens(nano):
    def cities(*names: str) -> FactSet:
        return FactSet(tuple(Fact(n, n, "P17", "France") for n in names), "made")

    old = cities("Newville", "Bergen")
    found = like_new_subjects(nano, old, cities("Oldville", "Newville"))
    assert found["fact"].tolist() == old.ids
    assert found.loc[0, "token_overlap"] == 1
    direct = subject_overlap(nano, old, cities("Oldville", "Newville"))["jaccard"]
    assert found["token_overlap"].tolist() == direct.tolist()
    assert found.loc[1, "token_overlap"] < 1


def test_gradients_are_joined_where_they_stand_for_the_results(tmp_path):
    PREDICTED.to_parquet(tmp_path / "predictors.parquet")
    (tmp_path / "results.parquet").write_bytes(b"")
    assert "gradient_risk_sgd" not in read_predictors(tmp_path)
    risk = PREDICTED[["keys", "seed", "fact"]].assign(gradient_risk_sgd=range(12))
    risk.sample(frac=1, random_state=0).to_parquet(tmp_path / "gradient_risk.parquet")
    found = read_predictors(tmp_path)
    assert found["gradient_risk_sgd"].tolist() == list(range(12))
    later = (tmp_path / "gradient_risk.parquet").stat().st_mtime + 1
    os.utime(tmp_path / "results.parquet", (later, later))
    assert "gradient_risk_sgd" not in read_predictors(tmp_path)
    (tmp_path / "predictors.parquet").unlink()
    with pytest.raises(InputError, match="holds no predictors"):
        read_predictors(tmp_path)


def test_signs_are_declared_and_what_is_unknown_is_a_risk():
    assert signs(["margin", "overlap", "kernel_adam"]) == {
        "margin": -1,
        "overlap": 1,
        "kernel_adam": 1,
    }
    assert predictor("kernel_adam").label == "kernel adam"
    assert {one.sign for one in PREDICTORS.values()} == {1, -1}
