"""What was planted is found, what only goes with the before-score is not, nulls are null."""

import numpy as np
import pandas as pd
import pytest
from planted_forgetting import SIGNS, planted
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from interfere.errors import InputError
from interfere.measures.forgetting_table import ForgettingTable
from interfere.measures.predict_forgetting import predict_forgetting
from interfere.measures.predictor_statistics import (
    Options,
    coefficients,
    rank_correlations,
)
from interfere.measures.weighted_bootstrap import bootstrap
from interfere.measures.weighted_ranks import auc


@pytest.fixture(scope="module")
def found():
    return predict_forgetting(planted(0), SIGNS, resamples=1000)


@pytest.mark.parametrize("statistic", ["standardised", "nats", "spearman", "added"])
def test_what_acts_shows(found, statistic):
    row = found.of(statistic).loc["acts"]
    assert row["low"] > 0
    assert row["low"] < row["value"] < row["high"]
    assert row["seeds_low"] <= row["value"] <= row["seeds_high"]


@pytest.mark.parametrize("name", ["noise", "goes", "bends", "margin"])
@pytest.mark.parametrize("statistic", ["standardised", "spearman", "share_loss"])
def test_what_does_not_act_does_not_show(found, name, statistic):
    row = found.of(statistic).loc[name]
    assert row["low"] <= 0.01
    if statistic != "share_loss":
        assert row["high"] >= 0
        assert row["p_holm"] > 0.05


def test_going_with_the_before_score_gives_an_area_but_adds_nothing(found):
    assert found.of("auc").loc["goes", "low"] > 0.7
    assert found.of("added").loc["goes", "high"] < 0.01
    assert found.of("added").loc["acts", "low"] > 0.03


def test_the_raw_change_would_have_called_it_a_predictor():
    """The trap that the regression avoids."""
    table = planted(0)
    change = table["before"] - table["after"]
    first = table["seed"] == 0
    assert stats.spearmanr(table["goes"][first], change[first]).pvalue < 1e-4


def test_shares_go_to_what_acts(found):
    for outcome in ("forgotten", "loss"):
        share = found.of(f"share_{outcome}")["value"]
        parts = share.drop("all")
        assert parts.sum() == pytest.approx(share["all"])
        assert parts["acts"] > 0.9 * share["all"] > 0.05
        assert found.of(f"dropped_{outcome}").loc["acts", "low"] > 0


def test_auc_is_scikit_learns_by_seed_among_facts_right_before(found):
    table = planted(0)
    right = table[table["right_before"]]
    by_seed = [
        roc_auc_score(~own["right_after"], -own["margin"])
        for _, own in right.groupby("seed")
    ]
    row = found.of("auc").loc["margin"]
    assert row["value"] == pytest.approx(np.mean(by_seed))
    assert row["seeds_low"] == pytest.approx(min(by_seed))
    assert found.of("beyond_margin").loc["acts", "value"] == pytest.approx(
        found.of("auc").loc["acts", "value"] - row["value"]
    )
    assert found.forgotten == (~right["right_after"]).sum() / 2


def test_partial_spearman_is_the_correlation_of_rank_residuals(found):
    table = planted(0)
    expected = []
    for _, own in table.groupby("seed"):
        ranks = own[["acts", "before"]].rank()
        ranks["loss"] = (own["control"] - own["after"]).rank()
        start = ranks["before"] / len(own)
        given = np.column_stack([own["before"], start, start**2, start**3])
        left = [
            ranks[name] - LinearRegression().fit(given, ranks[name]).predict(given)
            for name in ("acts", "loss")
        ]
        expected.append(np.corrcoef(*left)[0, 1])
    assert found.of("spearman").loc["acts", "value"] == pytest.approx(np.mean(expected))


def test_p_is_corrected_over_the_predictors_of_a_statistic(found):
    raw = found.of("spearman")["p"].sort_values()
    first = raw.index[0]
    assert found.of("spearman").loc[first, "p_holm"] == pytest.approx(
        len(raw) * raw.iloc[0]
    )


SMALL = planted(3, answers=20, each=6)


@pytest.fixture(scope="module")
def small():
    return predict_forgetting(SMALL, SIGNS, resamples=50)


def test_blind_to_rising_functions_of_a_predictor(small):
    bent = SMALL.assign(acts=np.exp(2 * SMALL["acts"]) - 5)
    other = predict_forgetting(bent, SIGNS, resamples=50)
    for statistic in ("spearman", "auc", "added", "share_forgotten", "share_loss"):
        assert other.of(statistic)["value"].tolist() == pytest.approx(
            small.of(statistic)["value"].tolist()
        )


def test_declared_the_other_way_round_the_area_is_too(small):
    turned = predict_forgetting(SMALL, SIGNS | {"acts": -1}, resamples=50)
    for statistic, middle in (("auc", 0.5), ("spearman", 0), ("nats", 0)):
        there, back = (one.of(statistic).loc["acts", "value"] for one in (small, turned))
        assert back == pytest.approx(2 * middle - there)


def test_order_of_rows_changes_nothing(small):
    mixed = SMALL.sample(frac=1, random_state=1)
    other = predict_forgetting(mixed, SIGNS, resamples=50)
    for statistic in ("nats", "spearman", "auc"):
        assert other.of(statistic)["value"].tolist() == pytest.approx(
            small.of(statistic)["value"].tolist()
        )


def test_a_predictor_that_says_nothing_of_its_own_is_nan():
    table = planted(1).assign(flat=1.0, start=lambda t: 1 - 2 * t["before"])
    with (
        pytest.warns(UserWarning, match="flat: its coefficient is NaN"),
        pytest.warns(UserWarning, match="start: its coefficient is NaN"),
    ):
        found = predict_forgetting(
            table, {"acts": 1, "flat": 1, "start": 1}, margin=None, resamples=50
        )
    assert np.isnan(found.of("standardised").loc[["flat", "start"], "value"]).all()
    assert found.of("standardised")["p_holm"].notna().tolist() == [True, False, False]
    assert found.of("auc").loc["flat", "value"] == 0.5


def test_nothing_forgotten_is_nan_not_a_half():
    table = planted(0, answers=10, each=4).assign(right_before=True, right_after=True)
    with (
        pytest.warns(UserWarning, match="AUC intervals are NaN"),
        pytest.warns(UserWarning, match="shares are NaN"),
    ):
        found = predict_forgetting(table, SIGNS, resamples=50)
    assert found.forgotten == 0
    assert found.of("auc")["value"].isna().all()
    assert found.of("share_forgotten")["value"].isna().all()
    assert found.of("spearman")["value"].notna().all()


def test_nothing_right_before_leaves_areas_out():
    table = planted(0, answers=10, each=4).assign(right_before=False)
    found = predict_forgetting(table, SIGNS, resamples=50)
    with pytest.raises(InputError, match="no statistic 'auc'"):
        found.of("auc")


def test_a_margin_that_is_no_predictor_is_refused():
    with pytest.raises(InputError, match="margin 'prior' is not among the predictors"):
        predict_forgetting(planted(0), SIGNS, margin="prior")


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
def test_p_values_are_uniform_under_the_null():
    """2,000 studies in which nothing acts; what goes with the before-score among them."""
    draws, signs = 2000, {"noise": 1, "goes": 1, "bends": 1}
    p = pd.DataFrame(_p_values(seed, signs) for seed in range(draws))
    for column in p:
        assert stats.kstest(p[column], "uniform").pvalue > 0.001, column
        assert (p[column] < 0.05).mean() == pytest.approx(0.05, abs=0.02), column


def _p_values(seed: int, signs: dict[str, int]) -> dict[str, float]:
    table = planted(seed, each=3, seeds=1, effect=0.0, bend=0.8)
    data, options = ForgettingTable.of(table, signs), Options(resamples=300, seed=seed)
    tested = [*coefficients(data, options), *rank_correlations(data, options)]
    p = {
        f"{one.predictor}, {one.statistic}": one.interval.p_value
        for one in tested
        if one.statistic in {"standardised", "spearman"}
    }
    noise, lost, right = data.predictors["noise"][0], data.forgotten[0], data.right
    area = bootstrap(
        lambda _, weights: auc(noise[right], lost[right], weights)[:, None],
        data.answers[right],
        nulls=[0.5],
        resamples=300,
        seed=seed,
    )
    return p | {"noise, auc": area[0].p_value}
