"""The jackknife of a mean in closed form, and its coverage for CKA."""

import numpy as np
import pytest
from gaussian import gaussian
from scipy import stats

from interfere.errors import InputError
from interfere.measures.cka import cka
from interfere.measures.jackknife import jackknife


def test_one_fact_a_group_is_the_classical_error_of_the_mean():
    x = gaussian(0, 15)
    found = jackknife(lambda kept: x[kept].mean(), range(15), groups=15)
    error = x.std(ddof=1) / np.sqrt(15)
    assert found.error == pytest.approx(error)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 14) * error)
    assert (found.value, found.groups) == (pytest.approx(x.mean()), 15)
    assert found.p_value == pytest.approx(stats.ttest_1samp(x, 0).pvalue)


def test_unequal_clusters_by_hand():
    # A pseudo-value of the mean is the mean of the group that was left out.
    x, answers = np.array([1.0, 2, 3, 10, 20]), ["a", "a", "a", "b", "c"]
    found = jackknife(lambda kept: x[kept].mean(), answers)
    h, means = np.array([5 / 3, 5, 5]), np.array([2.0, 10, 20])
    expected = np.sqrt(np.mean((means - 7.2) ** 2 / (h - 1)))
    assert found.error == pytest.approx(expected)


def test_whole_answers_are_left_out_each_once_and_none_is_drawn_twice():
    answers = np.random.default_rng(0).integers(0, 30, 200)
    kept = []
    jackknife(lambda rows: kept.append(rows) or 0.0, answers, groups=6)
    assert kept[0].tolist() == list(range(200))
    left = [np.setdiff1d(np.arange(200), rows) for rows in kept[1:]]
    assert sorted(np.concatenate(left)) == list(range(200))
    groups = [set(answers[rows]) for rows in left]
    assert sum(map(len, groups)) == len(set(answers))
    sizes = [len(rows) for rows in left]
    assert (len(sizes), max(sizes) - min(sizes)) == (6, pytest.approx(0, abs=8))


def test_many_numbers_at_once_are_each_by_itself():
    x = gaussian(0, 40, 2, 3)
    answers = np.repeat(range(20), 2)
    found = jackknife(lambda kept: x[kept].mean(0), answers, groups=5)
    alone = jackknife(lambda kept: x[kept, 1, 2].mean(), answers, groups=5)
    assert found.low.shape == (2, 3)
    assert found.low[1, 2] == pytest.approx(alone.low)


def test_one_answer_is_nan():
    with pytest.warns(UserWarning, match="interval is NaN: all facts have one answer"):
        found = jackknife(lambda kept: len(kept), ["a"] * 9)
    assert found.value == 9
    assert np.isnan([found.low, found.p_value]).all()


def test_what_never_moves_has_no_p():
    x, answers = np.full(20, 0.1), np.repeat(range(6), [1, 2, 3, 4, 5, 5])
    assert np.isnan(jackknife(lambda kept: x[kept].mean(), answers).p_value)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="2 or more groups, got 1"):
        jackknife(lambda kept: 0.0, ["a", "b"], groups=1)
    with pytest.raises(InputError, match="fact 1 has no label"):
        jackknife(lambda kept: 0.0, ["a", None])


def clustered(seed: int, answers: int, facts: int) -> tuple[np.ndarray, np.ndarray]:
    """Before and after: facts of one answer lie together and move together."""
    generator = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(5, 6))
    middle, moved = generator.normal(size=(2, answers, 1, 5))
    before = middle + generator.normal(size=(answers, facts, 5))
    after = before + 0.7 * moved + 0.5 * generator.normal(size=before.shape)
    return before.reshape(-1, 5), (after @ mix).reshape(-1, 6)


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_p_is_uniform_under_the_null(shared):
    """Means of nothing, in 60 answers of one to six facts, which may move together."""
    answers = np.repeat(range(60), np.arange(60) % 6 + 1)
    found = []
    for seed in range(2000):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=len(answers))
        x += shared * generator.normal(size=60)[answers]
        p = jackknife(lambda kept, x=x: x[kept].mean(), answers, seed=seed).p_value
        found.append(float(p))
    assert stats.kstest(found, "uniform").pvalue > 0.001


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("answers", [40, 100])
def test_covers_cka_of_the_population(answers):
    truth = cka(*clustered(10**6, 40_000, 4)).value
    labels = np.repeat(range(answers), 4)
    inside = []
    for seed in range(2000):
        x, y = clustered(seed, answers, 4)
        found = jackknife(lambda kept, x=x, y=y: cka(x[kept], y[kept]).value, labels)
        inside.append(found.low <= truth <= found.high)
    assert 0.93 <= np.mean(inside) <= 0.97
