"""A study's predictions tell what does harm in an arm from what only goes with it."""

import numpy as np
import pandas as pd
import pytest
from planted_forgetting import SIGNS, planted

from interfere.errors import InputError
from interfere.study.prediction_table import predictions
from interfere.study.study import Study, plain_arm

STUDY = Study(
    name="made",
    arms=(
        {"name": "Known only", "rows": "known"},
        {"name": "gentle", "mitigation": "self-distillation"},
        {"name": "SFT"},
    ),
    seeds=(0, 1),
)


def study_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """facts.parquet and predictors.parquet in which `acts` harms the arm SFT alone."""
    made = planted(0, answers=30, each=8)
    harmless = planted(0, answers=30, each=8, effect=0.0)
    ends = {
        "SFT": (made["after"], made["right_after"]),
        "gentle": (harmless["after"], harmless["right_after"]),
        "Known only": (made["control"], made["right_before"]),
    }
    own = made[["fact", "seed", "answer"]].assign(set="held_out")
    first, last = [], []
    for arm, (after, right) in ends.items():
        start = {"logprob": made["before"], "right": made["right_before"]}
        first.append(own.assign(arm=arm, step=0, **start))
        last.append(own.assign(arm=arm, step=9, logprob=after, right=right))
    predictors = made[["seed", "fact", *SIGNS]].assign(keys="natural")
    return pd.concat([*first, *last], ignore_index=True), predictors


@pytest.fixture(scope="module")
def found():
    lines: list[str] = []
    table = predictions(STUDY, *study_tables(), lines.append)
    assert lines == [f"what predicts forgetting: {arm}" for arm in ("gentle", "SFT")]
    return table.set_index(["arm", "statistic", "predictor"])


def test_what_harms_adds_to_the_margin_in_the_arm_that_it_harms(found):
    assert found.loc[("SFT", "auc", "acts"), "low"] > 0.5
    for statistic in ("added", "spearman"):
        assert found.loc[("SFT", statistic, "acts"), "low"] > 0
        assert found.loc[("gentle", statistic, "acts"), "low"] < 0.02
    shares = found.loc[("SFT", "share_loss"), "value"]
    assert shares.drop("all").idxmax() == "acts"


def test_what_only_goes_with_the_before_score_adds_nothing(found):
    for name in ("noise", "goes"):
        assert found.loc[("SFT", "added", name), "low"] <= 0.01
        assert abs(found.loc[("SFT", "share_loss", name), "value"]) < 0.05


def test_every_number_has_its_interval_and_size(found):
    assert (found["facts"] == 240).all()
    assert (found["answers"] == 30).all()
    assert (found["seeds"] == 2).all()
    assert (found["keys"] == "natural").all()
    assert np.isfinite(found[["low", "high"]]).all(axis=None)
    assert (found["low"] <= found["high"]).all()


def test_without_margin_nothing_is_held_against_it():
    facts, predictors = study_tables()
    one = STUDY.model_copy(update={"arms": (STUDY.arms[0], STUDY.arms[2])})
    found = predictions(
        one, facts, predictors.drop(columns=["margin", "goes", "noise", "bends"])
    )
    assert "beyond_margin" not in set(found["statistic"])
    assert set(found["predictor"]) == {"acts", "before", "all"}


def test_what_is_left_out_is_said():
    facts, predictors = study_tables()
    lines: list[str] = []
    arms = (STUDY.arms[0], STUDY.arms[2].model_copy(update={"mitigation": "ffn-only"}))
    one = STUDY.model_copy(update={"arms": arms})
    first = predictors["noise"].where(predictors["fact"] != "f0")
    named = predictors.assign(noise=first).rename(columns={"acts": "gradient_risk_sgd"})
    found = predictions(one, facts, named, lines.append)
    assert not {"noise", "gradient_risk_sgd"} & set(found["predictor"])
    assert lines[1:] == [
        "without noise: 2 of 480 rows have none",
        "SFT: without the gradients of weights that it leaves as they are",
    ]


def test_plain_sft_is_the_first_arm_that_learns_with_nothing_added():
    assert plain_arm(STUDY).name == "SFT"
    assert plain_arm(STUDY.model_copy(update={"arms": STUDY.arms[:2]})) is None


def test_too_few_facts_are_refused():
    facts, predictors = study_tables()
    few = facts["fact"].isin([f"f{i}" for i in range(10)])
    with pytest.raises(InputError, match="at least 20 held-out facts, got 10"):
        predictions(STUDY, facts[few], predictors)
