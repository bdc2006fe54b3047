"""RSA against scipy, and what each dissimilarity is blind to."""

import numpy as np
import pytest
from gaussian import changed, gaussian, rotation
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import pairwise_distances

from interfere.errors import InputError
from interfere.measures.rsa import rsa

KINDS = ["correlation", "cosine", "euclidean"]
REFERENCE = {"spearman": spearmanr, "pearson": pearsonr}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compare", REFERENCE)
def test_is_the_correlation_of_reference_distances(kind, compare):
    before, after = changed(0, 20, 6)
    found = rsa(before, after, dissimilarity=kind, compare=compare).value
    sides = (pairwise_distances(x, metric=kind) for x in (before, after))
    vectors = (side[np.triu_indices(20, 1)] for side in sides)
    expected = REFERENCE[compare](*vectors).statistic
    assert found == pytest.approx(expected, abs=1e-12)


def test_ties_get_their_mean_rank():
    before, after = np.repeat(np.eye(3), 2, axis=0), gaussian(1, 6, 3)
    found = rsa(before, after, dissimilarity="euclidean").value
    expected = spearmanr(pdist(before), pdist(after)).statistic
    assert found == pytest.approx(expected, abs=1e-12)


def changes(seed: int, n: int, d: int) -> dict:
    each = np.exp(gaussian(seed, n, 1))
    return {
        "rotation": lambda x: x @ rotation(seed, d),
        "dimensions permuted": lambda x: x[:, ::-1],
        "one scale": lambda x: 7 * x,
        "a scale a row": lambda x: each * x,
        "one shift": lambda x: x + gaussian(seed, d),
        "a shift a row": lambda x: x + 3 * each,
    }


BLIND = {
    "correlation": {"dimensions permuted", "one scale", "a scale a row", "a shift a row"},
    "cosine": {"rotation", "dimensions permuted", "one scale", "a scale a row"},
    "euclidean": {"rotation", "dimensions permuted", "one scale", "one shift"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", changes(0, 1, 1))
@pytest.mark.parametrize("compare", REFERENCE)
def test_blind_to_no_more_and_no_less(kind, change, compare):
    before, after = changed(5, 15, 6)
    expected = rsa(before, after, dissimilarity=kind, compare=compare).value
    turned = changes(6, 15, 6)[change](before)
    found = rsa(turned, after, dissimilarity=kind, compare=compare).value
    assert (abs(found - expected) < 1e-9) == (change in BLIND[kind])


def test_blind_to_the_order_of_facts_and_sides():
    before, after = changed(0, 15, 4)
    order = np.random.default_rng(0).permutation(15)
    expected = rsa(before, after).value
    assert rsa(before[order], after[order]).value == pytest.approx(expected, abs=1e-12)
    assert rsa(after, before).value == pytest.approx(expected, abs=1e-12)
    assert rsa(before, before).value == pytest.approx(1)


def test_unrelated_rows_are_near_zero():
    values = [rsa(gaussian(i, 20, 50), gaussian(99 + i, 20, 50)).value for i in range(40)]
    assert abs(np.mean(values)) < 0.03


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("euclidean", np.eye(9)),
        ("euclidean", np.full((9, 2), 1 / 3)),
        ("cosine", np.vstack([np.zeros(3), gaussian(0, 8, 3)])),
        ("cosine", np.full((9, 2), 1 / 3)),
        ("correlation", np.vstack([np.full(3, 0.1), gaussian(0, 8, 3)])),
    ],
)
def test_a_side_that_says_nothing_is_nan(kind, side):
    with pytest.warns(UserWarning, match=f"RSA is NaN: under {kind}"):
        assert np.isnan(rsa(side, gaussian(1, 9, 3), dissimilarity=kind).value)


def test_unlike_facts_are_refused():
    with pytest.raises(InputError, match=r"RSA needs the same 4 .* got 9 and 8 rows"):
        rsa(gaussian(0, 9, 2), gaussian(1, 8, 2))
