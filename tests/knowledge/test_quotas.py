import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from interfere.knowledge.quotas import fill, largest_remainder, matched, total_variation

counts = arrays(int, 6, elements=st.integers(0, 50))


def test_fill_by_hand():
    # the first is bounded; the rest share what is left as 3 to 2
    found = fill(np.array([0.5, 0.3, 0.2]), np.array([0.25, 1, 1]))
    np.testing.assert_allclose(found, [0.25, 0.45, 0.3])


@given(shares=counts, bounds=arrays(float, 6, elements=st.floats(0, 1)))
def test_fill_keeps_to_bounds_and_sums_to_what_they_allow(shares, bounds):
    shares = shares / max(1, shares.sum())
    found = fill(shares, bounds)
    assert (found <= bounds + 1e-12).all()
    assert found.sum() == pytest.approx(min(1, bounds[shares > 0].sum()), abs=1e-9)


@given(first=counts, second=counts, sizes=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_matched_draws_stay_within_their_pools(first, second, sizes):
    one, two = matched(first, sizes[0], second, sizes[1])
    for shares, pool, size in ((one, first, sizes[0]), (two, second, sizes[1])):
        assert (shares * size <= pool + 1e-9).all()
        assert shares.sum() == pytest.approx(min(1, pool.sum() / size), abs=1e-9)


def test_matched_is_equal_where_both_pools_allow():
    one, two = matched(np.array([90, 30]), 40, np.array([30, 300]), 50)
    np.testing.assert_allclose(one, two)
    # as near to the first pool's 3 : 1 as 30 of the second draw's 50 allow
    np.testing.assert_allclose(one, [0.6, 0.4])


def test_an_answer_that_one_pool_lacks_is_unmatched():
    one, two = matched(np.array([10, 10, 0]), 20, np.array([0, 10, 10]), 20)
    assert one == pytest.approx([0.5, 0.5, 0])
    assert two == pytest.approx([0, 0.5, 0.5])


@given(counts, st.integers(0, 200), counts)
def test_largest_remainder_is_exact_or_takes_all(shares, size, available):
    shares = shares / max(1, shares.sum())
    taken = largest_remainder(shares, size, available)
    assert (taken <= available).all()
    assert taken.sum() == min(size, available.sum())


def test_largest_remainder_by_hand():
    assert largest_remainder(
        np.array([0.47, 0.33, 0.2]), 10, np.array([9, 9, 9])
    ).tolist() == [5, 3, 2]


def test_total_variation():
    assert total_variation({"a": 1, "b": 1}, {"a": 10}) == 0.5
    assert total_variation({"a": 2}, {"a": 7}) == 0
