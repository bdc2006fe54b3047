"""Distances by SciPy's and by hand, and what each is blind to."""

import numpy as np
import pytest
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from interfere.errors import InputError
from interfere.measures.metrics import METRICS, distances, place


def apart(x, y, metric):
    return distances(place(x, y, metric), metric)


def test_are_scipys():
    x, y = gaussian(0, 7, 5) + 3, gaussian(1, 9, 5)
    both = np.concatenate([x, y])
    centre = both.mean(0)
    assert apart(x, y, "euclidean") == pytest.approx(cdist(x, y))
    assert apart(x, y, "cosine") == pytest.approx(cdist(x - centre, y - centre, "cosine"))
    expected = cdist(x, y, "seuclidean", V=both.var(0))
    assert apart(x, y, "standardised") == pytest.approx(expected)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_what_each_is_blind_to(seed, scale):
    x, y, shift = gaussian(seed, 6, 4), gaussian(seed + 1, 8, 4), 10 * gaussian(seed + 2, 4)
    q, _ = np.linalg.qr(gaussian(seed + 3, 4, 4))
    each = np.array([1, 2, 3, 4.0])
    plain = {metric: apart(x, y, metric) for metric in METRICS}
    turned = {m: apart(scale * x @ q + shift, scale * y @ q + shift, m) for m in METRICS}
    stretched = {m: apart(x * each + shift, y * each + shift, m) for m in METRICS}
    assert turned["cosine"] == pytest.approx(plain["cosine"], abs=1e-8)
    assert turned["euclidean"] == pytest.approx(scale * plain["euclidean"], rel=1e-6)
    assert stretched["standardised"] == pytest.approx(plain["standardised"], rel=1e-6)
    assert not np.allclose(turned["standardised"], plain["standardised"])
    assert not np.allclose(stretched["cosine"], plain["cosine"])


def test_a_constant_dimension_is_left_out():
    x, y = gaussian(0, 5, 3), gaussian(1, 5, 3)
    flat = np.full((5, 1), 0.1)
    found = apart(np.hstack([x, flat]), np.hstack([y, flat]), "standardised")
    assert found == pytest.approx(apart(x, y, "standardised"))


def test_bad_input_is_refused():
    x = gaussian(0, 5, 3)
    with pytest.raises(
        InputError, match="at L1: old facts have 3 dimensions and new ones 2"
    ):
        place(x, x[:, :2], "cosine", name="at L1")
    with pytest.raises(InputError, match="at L1, new: fact 1 has a NaN"):
        place(x, np.array([[0.0, 0, 0], [np.nan, 0, 0]]), "cosine", name="at L1")
    with pytest.raises(InputError, match="new fact 1 lies at the mean of all"):
        place(
            np.array([[1.0, 0], [-1, 0]]), np.array([[0.0, 1], [0, 0], [0, -1]]), "cosine"
        )


def test_an_unknown_metric_is_refused(types_unchecked):
    x = gaussian(0, 5, 3)
    with pytest.raises(
        InputError, match="one of cosine, euclidean, standardised, got 'l1'"
    ):
        place(x, x, "l1")


@pytest.mark.parametrize("metric", METRICS)
def test_facts_that_are_all_equal_are_refused(metric):
    with pytest.raises(InputError, match="all facts have equal activations"):
        place(np.full((4, 3), 3.3), np.full((5, 3), 3.3), metric)
