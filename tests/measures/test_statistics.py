"""Intervals: by hand where they can be, and as often right as they say they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interfere.errors import InputError
from interfere.measures.statistics import (
    Interval,
    difference_interval,
    mean_interval,
    p_value,
    percentiles,
    pooled_interval,
    ratio_interval,
    resampled_sums,
    smallest_difference,
)

CLUSTERS = np.repeat(np.arange(40), 5)


def clustered(seed: int, mean: float = 0.0, seeds: int = 2) -> np.ndarray:
    """Half of the variance is the cluster's, shared by its five facts and all seeds."""
    rng = np.random.default_rng(seed)
    return mean + rng.normal(size=40)[CLUSTERS] + rng.normal(size=(seeds, len(CLUSTERS)))


def test_value_and_range_of_seeds_by_hand():
    found = mean_interval(
        np.array([[0, 1, 1, 0], [1, 1, 1, 1]]), list("abcd"), resamples=50
    )
    assert found.value == pytest.approx(0.75)
    assert (found.seeds_low, found.seeds_high) == (0.5, 1)


def test_smallest_difference_by_hand():
    assert smallest_difference(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    assert smallest_difference(2.0, power=0.5) == pytest.approx(2 * 1.959964, abs=1e-5)


def test_smallest_is_from_the_clusters_standard_error():
    values = clustered(0)
    means = values.mean(0).reshape(40, 5).mean(1)
    error = means.std(ddof=0) / np.sqrt(40)
    found = mean_interval(values, CLUSTERS)
    assert found.smallest == pytest.approx(smallest_difference(error), rel=0.05)


def test_equal_clusters_give_a_students_interval():
    values = clustered(1)
    means = values.mean(0).reshape(40, 5).mean(1)
    half = 2.0227 * means.std(ddof=1) / np.sqrt(40)  # t(39), two-sided 5 %
    found = mean_interval(values, CLUSTERS)
    assert found.low == pytest.approx(means.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(means.mean() + half, abs=0.1 * half)


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_coverage_of_a_mean(level):
    covered = 0
    for seed in range(300):
        found = mean_interval(
            clustered(seed, mean=0.3), CLUSTERS, level=level, resamples=400, seed=seed
        )
        covered += found.low <= 0.3 <= found.high
    assert covered / 300 == pytest.approx(level, abs=0.04 if level > 0.9 else 0.06)


def test_coverage_of_a_difference_and_of_a_ratio():
    difference = ratio = 0
    for seed in range(300):
        # Two conditions on the same facts share what a cluster does.
        shared = clustered(seed)
        a = shared + clustered(seed + 1000, mean=6)
        b = shared + clustered(seed + 2000, mean=4)
        found = difference_interval(a, b, CLUSTERS, resamples=400, seed=seed)
        difference += found.low <= 2 <= found.high
        found = ratio_interval(a, b, CLUSTERS, resamples=400, seed=seed)
        ratio += found.low <= 1.5 <= found.high
    assert difference / 300 == pytest.approx(0.95, abs=0.04)
    assert ratio / 300 == pytest.approx(0.95, abs=0.04)


def test_facts_taken_for_independent_would_undercover():
    """What clusters are for: without them far fewer intervals hold the truth."""
    covered = 0
    for seed in range(100):
        values = clustered(seed)
        found = mean_interval(values, np.arange(len(CLUSTERS)), resamples=200, seed=seed)
        covered += found.low <= 0 <= found.high
    assert covered < 85


def test_unequal_clusters_are_resampled_as_a_ratio():
    """The value is the mean over facts, not over clusters."""
    found = mean_interval(np.array([[1.0, 1, 1, 0, 1, 0]]), list("aaabcd"), resamples=500)
    assert found.value == pytest.approx(4 / 6)
    assert 0 <= found.low < found.value < found.high <= 1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_moves_and_scales_with_the_values(seed, scale, shift):
    values = clustered(seed)
    plain = mean_interval(values, CLUSTERS, resamples=50)
    moved = mean_interval(scale * values + shift, CLUSTERS, resamples=50)
    for name in ("value", "low", "high", "seeds_low", "seeds_high"):
        expected = scale * getattr(plain, name) + shift
        assert getattr(moved, name) == pytest.approx(expected, abs=1e-9)
    assert moved.smallest == pytest.approx(scale * plain.smallest)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_a_difference_turned_round_is_its_negative(seed):
    a, b = clustered(seed), clustered(seed + 1)
    there = difference_interval(a, b, CLUSTERS, resamples=50)
    back = difference_interval(b, a, CLUSTERS, resamples=50)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.shows == back.shows


def test_labels_are_only_names():
    values = clustered(3)
    named = [f"answer {i}" for i in CLUSTERS]
    assert mean_interval(values, named, resamples=50) == mean_interval(
        values, CLUSTERS, resamples=50
    )


def test_shows_is_about_the_null():
    def interval(low, high, null):
        return Interval(0.0, low, high, 0.0, 0.0, 0.0, null=float(null))

    assert interval(0.1, 0.2, 0).shows
    assert interval(-0.2, -0.1, 0).shows
    assert not interval(-0.1, 0.1, 0).shows
    assert not interval(0.9, 1.1, 1).shows
    assert interval(0.5, 0.9, 1).shows
    assert not interval(float("nan"), float("nan"), 0).shows


@pytest.mark.parametrize("null", [-0.3, 0.1, 0.5])
def test_p_is_where_the_interval_reaches_the_null(null):
    draws = np.random.default_rng(0).normal(0.1, 0.2, size=20_000)
    clusters = np.repeat(np.arange(40), 500)
    p = p_value(draws, clusters, null=null)
    low, high = percentiles(draws, clusters, level=1 - p)
    nearest = low if null < 0.1 else high
    assert nearest == pytest.approx(null, abs=0.01)


def test_values_that_are_all_alike_have_no_p():
    for value in (0.1, 1.0):
        found = mean_interval(
            np.full((1, 20), value), np.repeat(range(5), [1, 2, 3, 4, 10])
        )
        assert np.isnan(found.p_value)


def test_p_is_no_smaller_than_flipped_signs_can_give():
    values = np.r_[0.9, np.ones(7)]
    assert mean_interval(values[None], range(8)).p_value == 2 / 2**8


@pytest.mark.slow
def test_p_of_skewed_values_is_as_much_too_small_as_it_says():
    below = {0.001: 0.008, 0.05: 0.09}
    p = np.array([
        mean_interval(
            np.random.default_rng(seed).lognormal(size=(1, 40)) - np.exp(0.5), range(40)
        ).p_value
        for seed in range(2000)
    ])  # fmt: skip
    for level, share in below.items():
        assert np.mean(p < level) == pytest.approx(share, abs=0.3 * share + 0.004)


def test_seeds_of_the_same_facts_pool_to_their_mean():
    values = clustered(3, mean=0.2, seeds=3)
    pooled = pooled_interval(
        values.ravel(), np.tile(CLUSTERS, 3), np.repeat(["a", "b", "c"], values.shape[1])
    )
    found = mean_interval(values, CLUSTERS)
    for name in ("value", "low", "high", "seeds_low", "seeds_high", "smallest", "p_value"):
        assert getattr(pooled, name) == pytest.approx(getattr(found, name))


def test_beyond_all_resamples_p_is_students():
    values = 1 + np.random.default_rng(0).normal(size=40)
    few, many = (
        mean_interval(values[None], range(40), resamples=n).p_value for n in (200, 9000)
    )
    expected = stats.ttest_1samp(values, 0).pvalue
    assert np.log10([few, many]) == pytest.approx(np.log10(expected), abs=0.8)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), mean=st.floats(-0.6, 0.6))
def test_a_difference_shows_where_its_p_is_below_5_percent(seed, mean):
    values = mean + np.random.default_rng(seed).normal(size=(1, 30))
    found = mean_interval(values, range(30), resamples=999)
    assert found.shows == (found.p_value < 0.05) or 0.04 < found.p_value < 0.06
    assert np.isnan(found.against(0.5).p_value)
    assert found.against(0.0) == found


def test_resampled_sums_draw_whole_clusters():
    columns = np.array([[1.0, 1], [10, 1], [100, 1]])
    sums = resampled_sums(columns, list("aab"), resamples=1000)
    seen = {tuple(row) for row in sums.tolist()}
    assert seen == {(22, 4), (111, 3), (200, 2)}
    share = (sums[:, 1] == 3).mean()
    assert share == pytest.approx(0.5, abs=0.06)


def test_resampled_sums_do_not_depend_on_how_they_are_cut(monkeypatch):
    columns = np.random.default_rng(0).normal(size=(30, 2))
    whole = resampled_sums(columns, range(30), resamples=100)
    assert whole.mean(0) == pytest.approx(columns.sum(0), abs=2.5)
    monkeypatch.setattr("interfere.measures.statistics.CHUNK", 30 * 50)
    assert np.array_equal(resampled_sums(columns, range(30), resamples=100), whole)


def test_all_facts_alike_show_no_smallest_difference():
    sizes = [1, 2, 3, 7, 11]
    clusters = np.repeat(np.arange(5), sizes)
    found = mean_interval(np.full((2, sum(sizes)), 0.1), clusters, resamples=100)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert np.isnan(found.smallest)
    assert np.isnan(mean_interval(np.zeros((1, 9)), range(9), resamples=100).smallest)


@pytest.mark.parametrize("clusters", [["a"] * 10, ["a"] * 9 + ["b"]])
def test_too_few_clusters_are_nan(clusters):
    values = np.random.default_rng(0).normal(size=(1, 10))
    with pytest.warns(UserWarning, match="interval is NaN: it needs 2 or more clusters"):
        found = mean_interval(values, clusters, resamples=100)
    assert np.isnan([found.low, found.high]).all()
    assert found.value == pytest.approx(values.mean())
    assert not found.shows


def test_fewer_clusters_give_wider_intervals():
    draws = np.random.default_rng(0).normal(size=10_000)
    few, many = (percentiles(draws, range(count)) for count in (4, 400))
    assert few[0] < many[0] < -1.9
    assert few[1] > many[1] > 1.9


def test_percentiles_of_few_clusters_by_hand():
    """With 4 clusters a normal curve's ends lie at t(3) = 3.182 times √(4/3)."""
    draws = stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)
    expected = 3.18245 * np.sqrt(4 / 3)
    assert percentiles(draws, range(4)) == pytest.approx((-expected, expected), abs=0.01)


def test_ratio_by_hand():
    rng = np.random.default_rng(0)
    b = rng.uniform(1, 2, size=(2, 200))
    found = ratio_interval(3 * b, b, CLUSTERS, resamples=100)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3, 3))
    assert (found.null, found.shows) == (1, True)


def test_a_denominator_that_may_be_zero_is_nan():
    with pytest.warns(UserWarning, match=r"ratio is NaN: its denominator, .* \[-.*\]"):
        found = ratio_interval(clustered(0), clustered(1), CLUSTERS, resamples=100)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert not found.shows


def test_a_denominator_that_few_clusters_have_is_nan():
    b = np.zeros((1, 200))
    b[0, :20] = 1  # 4 of 40 clusters: e⁻⁴ of the resamples have none
    a = np.ones((1, 200))
    with pytest.warns(UserWarning, match="interval is NaN: the denominator is 0 in a resa"):
        found = ratio_interval(a, b, CLUSTERS, resamples=2000)
    assert found.value == pytest.approx(10)
    assert np.isnan([found.low, found.high, found.smallest]).all()


def test_bad_values_are_refused():
    with pytest.raises(InputError, match="value of seed 1, fact 2 is missing; leave"):
        mean_interval(np.array([[0, 1, 2], [0, 1, np.nan]]), list("abc"))
    with pytest.raises(InputError, match=r"a row a seed and a column a fact, got \(1, 0\)"):
        mean_interval(np.zeros((1, 0)), [])
    with pytest.raises(InputError, match="a label for each of 3 facts, got 2"):
        mean_interval(np.zeros((1, 3)), list("ab"))
    with pytest.raises(
        InputError, match=r"same seeds and facts, got \(1, 3\) and \(2, 3\)"
    ):
        difference_interval(np.zeros((1, 3)), np.zeros((2, 3)), list("abc"))


@pytest.mark.slow
def test_intervals_cover_at_their_rate_with_forty_answers():
    """Right or wrong answers whose chance is each cluster's own; 95 % within 2 points."""
    covered = 0
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        chance = rng.beta(2, 2, size=40)[CLUSTERS]
        right = (rng.random((2, len(CLUSTERS))) < chance).astype(float)
        found = mean_interval(right, CLUSTERS, resamples=300, seed=seed)
        covered += found.low <= 0.5 <= found.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)
