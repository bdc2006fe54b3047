"""Mutual neighbours against scikit-learn, with ties by hand and duplicates."""

import numpy as np
import pytest
from gaussian import changed, gaussian, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from interfere.errors import InputError
from interfere.measures import mutual_knn as module
from interfere.measures.mutual_knn import mutual_knn


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3, 29])
def test_is_the_overlap_of_scikit_learns_neighbours(monkeypatch, metric, k):
    monkeypatch.setattr(module, "BLOCK", 7)
    before, after = changed(0, 30, 4)
    sets = []
    for side in (before, after):
        fitted = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(side)
        sets.append(fitted.kneighbors(return_distance=False))  # without the point itself
    expected = [len({*a} & {*b}) / k for a, b in zip(*sets, strict=True)]
    found = mutual_knn(before, after, k=k, metric=metric)
    assert found.per_fact == pytest.approx(np.array(expected))
    assert found.value == pytest.approx(np.mean(expected))
    assert found.chance == pytest.approx(k / 29)


def test_duplicates_are_neighbours_and_oneself_is_not():
    before = np.repeat(gaussian(0, 6, 3), 2, axis=0)
    assert mutual_knn(before, before, k=1).value == 1
    moved = before.copy()
    moved[1] = -moved[1]
    assert mutual_knn(before, moved, k=1).per_fact.tolist() == [0, 0, *[1] * 10]


def test_ties_share_the_places_by_hand():
    # Fact 0 has four others equally near before, and after two of them nearest: of k = 2
    # places each of the four holds half, so the overlap is (.5 + .5) / 2.
    before = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    after = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 3], [0, -3]])
    found = mutual_knn(before, after, k=2, metric="euclidean")
    assert found.per_fact[0] == pytest.approx(0.5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 8))
def test_the_order_of_tied_facts_does_not_matter(seed, k):
    generator = np.random.default_rng(seed)
    before, after = (generator.integers(0, 2, (20, 3)) + 1.0 for _ in range(2))
    order = generator.permutation(20)
    found = mutual_knn(before, after, k=k)
    again = mutual_knn(before[order], after[order], k=k)
    assert again.per_fact == pytest.approx(found.per_fact[order])
    assert mutual_knn(after, before, k=k).value == pytest.approx(found.value)
    assert mutual_knn(before, before, k=k).value == pytest.approx(1)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_blind_to_what_it_should_be(seed):
    before, after = changed(seed, 25, 4)
    turn, each = rotation(seed, 4), np.exp(gaussian(seed, 25, 1))
    found = mutual_knn(before, after, k=4)
    assert mutual_knn(each * before @ turn, after, k=4).value == found.value
    found = mutual_knn(before, after, k=4, metric="euclidean")
    turned = 7 * before @ turn + 3
    assert mutual_knn(turned, after, k=4, metric="euclidean").value == found.value


def test_cosine_sees_a_shift_and_euclidean_a_scale_of_rows():
    before = gaussian(0, 60, 4)
    assert mutual_knn(before, before + 5).value < 1
    each = np.exp(gaussian(1, 60, 1))
    assert mutual_knn(before, each * before, metric="euclidean").value < 1


def test_unrelated_rows_are_at_chance():
    found = [mutual_knn(gaussian(i, 60, 20), gaussian(99 + i, 60, 20)) for i in range(30)]
    assert np.mean([one.value for one in found]) == pytest.approx(found[0].chance, abs=0.01)


def test_all_alike_are_at_chance():
    found = mutual_knn(np.ones((9, 2)), gaussian(0, 9, 2), k=2, metric="euclidean")
    assert found.value == pytest.approx(found.chance)


def test_a_zero_row_is_nan_under_cosine():
    before = gaussian(0, 12, 3)
    before[5] = 0
    with pytest.warns(UserWarning, match="mutual kNN is NaN: before, fact 5 is zero"):
        assert np.isnan(mutual_knn(before, gaussian(1, 12, 3), k=2).value)


@pytest.mark.parametrize("k", [0, 9, 10])
def test_a_k_that_the_facts_cannot_have_is_refused(k):
    with pytest.raises(InputError, match=f"takes k from 1 to 8 for 9 facts, got {k}"):
        mutual_knn(gaussian(0, 9, 2), gaussian(1, 9, 2), k=k)


def test_unlike_facts_are_refused():
    with pytest.raises(InputError, match=r"mutual kNN needs the same 4 .* 9 and 8 rows"):
        mutual_knn(gaussian(0, 9, 2), gaussian(1, 8, 2))
