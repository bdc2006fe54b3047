"""Difference of two means over different facts: by hand, and by Student where it holds."""

import numpy as np
import pytest

from interfere.measures.unpaired import unpaired_interval


def test_by_hand():
    a, b = np.array([[1.0, 0, 1, 1], [1, 1, 1, 1]]), np.array([[0.0, 1], [0, 0]])
    with pytest.warns(UserWarning, match="too few answers"):
        found = unpaired_interval(a, list("wxyz"), b, list("wx"), resamples=500)
    assert found.value == pytest.approx(7 / 8 - 1 / 4)
    assert (found.seeds_low, found.seeds_high) == pytest.approx((0.25, 1))


def test_answers_on_both_sides_move_together():
    """Where both sides are their answers' own level, the difference is certain."""
    level = np.random.default_rng(0).normal(size=(1, 60))
    names = [str(i) for i in range(60)]
    both = unpaired_interval(level + 1, names, level, names)
    assert (both.low, both.high) == pytest.approx((1, 1))
    apart = unpaired_interval(level + 1, names, level, [f"other {i}" for i in names])
    assert apart.high - apart.low > 0.5


def test_coverage():
    inside = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        clusters = [str(c) for c in np.repeat(np.arange(40), 4)]
        level = rng.normal(size=40).repeat(4)
        a, b = (level + rng.normal(size=(2, 160)) for _ in range(2))
        found = unpaired_interval(a + 0.5, clusters, b, clusters, resamples=300)
        inside += found.low <= 0.5 <= found.high
    assert 0.91 <= inside / 300 <= 0.985


def test_too_few_answers_is_nan():
    with pytest.warns(UserWarning, match="too few answers"):
        found = unpaired_interval(np.ones((1, 2)), list("ab"), np.zeros((1, 1)), ["c"])
    assert found.value == 1
    assert np.isnan([found.low, found.high, found.smallest]).all()
