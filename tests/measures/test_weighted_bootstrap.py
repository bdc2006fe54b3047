"""Against the bootstrap of sums, and by coverage."""

import numpy as np
import pytest
from scipy import stats

from interfere.errors import InputError
from interfere.measures.statistics import mean_interval
from interfere.measures.weighted_bootstrap import bootstrap, fact_weights

CLUSTERS = np.repeat(np.arange(40), 5)


def clustered(seed: int, mean: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=40)[CLUSTERS]
    return mean + shared + rng.normal(size=(2, len(CLUSTERS)))


def weighted_mean(values: np.ndarray):
    return lambda seed, weights: (weights @ values[seed] / weights.sum(1))[:, None]


def test_a_mean_has_the_interval_that_sums_give():
    values = clustered(0, mean=0.4)
    found = bootstrap(weighted_mean(values), CLUSTERS, seeds=2, resamples=4000)[0]
    expected = mean_interval(values, CLUSTERS, resamples=4000)
    for name in ("value", "seeds_low", "seeds_high"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))
    width = expected.high - expected.low
    for name in ("low", "high", "smallest"):
        assert getattr(found, name) == pytest.approx(
            getattr(expected, name), abs=0.06 * width
        )


def test_whole_answers_are_drawn():
    weights = np.concatenate(list(fact_weights(CLUSTERS, resamples=300, seed=0)))
    assert weights.shape == (300, 200)
    by_cluster = weights.reshape(300, 40, 5)
    assert (by_cluster == by_cluster[..., :1]).all()
    assert (by_cluster[..., 0].sum(1) == 40).all()
    assert by_cluster[..., 0].var() == pytest.approx(1, abs=0.1)  # 1 - 1/40


def test_chunks_change_nothing(monkeypatch):
    values = clustered(1)
    whole = bootstrap(weighted_mean(values), CLUSTERS, resamples=50)
    monkeypatch.setattr("interfere.measures.weighted_bootstrap.CHUNK", 1400)
    assert bootstrap(weighted_mean(values), CLUSTERS, resamples=50) == whole


def test_p_values_are_uniform_without_an_effect():
    found = [
        bootstrap(weighted_mean(clustered(s)), CLUSTERS, seeds=2, resamples=300, seed=s)
        for s in range(300)
    ]
    assert stats.kstest([one[0].p_value for one in found], "uniform").pvalue > 0.01


def test_an_undefined_resample_makes_the_interval_nan():
    def first_fact_only(seed, weights):
        with np.errstate(invalid="ignore"):
            return weights[:, :1] / weights[:, :1]

    found = bootstrap(first_fact_only, CLUSTERS, resamples=100)[0]
    assert found.value == 1
    assert np.isnan([found.low, found.smallest, found.p_value]).all()


def test_a_missing_label_is_refused():
    with pytest.raises(InputError, match="fact 1 has no label"):
        bootstrap(weighted_mean(np.ones((1, 3))), ["a", None, "b"])
