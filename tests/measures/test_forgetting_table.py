"""Rows fall into place whatever their order, and what can't be used is refused by name."""

import numpy as np
import pytest
from planted_forgetting import SIGNS, planted

from interfere.errors import InputError
from interfere.measures.forgetting_table import ForgettingTable

TABLE = planted(0, answers=4, each=5)


def changed(**columns):
    return TABLE.assign(**columns)


def test_axes_are_seeds_then_facts():
    data = ForgettingTable.of(TABLE, SIGNS)
    assert data.before.shape == data.forgotten.shape == (2, 20)
    assert data.seeds == 2
    second = TABLE[TABLE["seed"] == 1]
    assert data.after[1].tolist() == second["after"].tolist()
    assert data.forgotten[1].tolist() == (~second["right_after"]).tolist()
    assert data.answers.tolist() == second["answer"].tolist()


def test_margin_is_turned_into_a_risk():
    data = ForgettingTable.of(TABLE, SIGNS)
    assert data.predictors["margin"][0].tolist() == (-TABLE["margin"][:20]).tolist()
    assert data.predictors["acts"][0].tolist() == TABLE["acts"][:20].tolist()


def test_the_order_of_rows_does_not_matter():
    mixed = TABLE.sample(frac=1, random_state=0)
    data, plain = (ForgettingTable.of(t, SIGNS) for t in (mixed, TABLE))
    places = [data.facts.index(fact) for fact in plain.facts]
    seeds = [list(mixed["seed"].unique()).index(seed) for seed in (0, 1)]
    np.testing.assert_array_equal(data.after[seeds][:, places], plain.after)
    assert data.answers[places].tolist() == plain.answers.tolist()


def test_without_seeds_there_is_one():
    data = ForgettingTable.of(TABLE[:20].drop(columns="seed"), SIGNS)
    assert data.seeds == 1


def test_right_before_means_under_every_seed():
    right = TABLE["right_before"].copy()
    first = int(np.flatnonzero(right[:20])[0])
    right[first + 20] = False
    assert not ForgettingTable.of(changed(right_before=right), SIGNS).right[first]


@pytest.mark.parametrize(
    ("table", "signs", "text"),
    [
        (TABLE.drop(columns="control"), SIGNS, "lacks control"),
        (TABLE, {"risk": 1}, "lacks risk"),
        (TABLE, {}, "at least one predictor"),
        (TABLE, {"acts": 2}, "sign of acts"),
        (TABLE, {"before": -1}, "can't be named before"),
        (TABLE[TABLE["fact"] != "f3"], SIGNS, "at least 20 .* got 19"),
        (TABLE.drop(index=25), SIGNS, "fact f5 is not there under every seed"),
        (TABLE.assign(fact="f0", seed=0), SIGNS, "at least 20"),
        (changed(noise=TABLE["noise"].where(TABLE.index != 7)), SIGNS, "noise of fact f7"),
        (changed(after=TABLE["after"].where(TABLE.index != 27, -np.inf)), SIGNS,
         "after of fact f7"),
    ],
)  # fmt: skip
def test_refused_by_name(table, signs, text):
    with pytest.raises(InputError, match=text):
        ForgettingTable.of(table, signs)


def test_a_fact_there_twice_is_refused():
    twice = TABLE.copy()
    twice.loc[20, "seed"] = 0
    with pytest.raises(InputError, match="fact f0 is there twice under seed 0"):
        ForgettingTable.of(twice, SIGNS)
