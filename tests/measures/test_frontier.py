"""The area under the stability–plasticity frontier: closed forms and what it must not credit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.frontier import frontier_area

share = st.floats(0, 1)


def area(plasticity, kept) -> float:
    return float(frontier_area(np.array(plasticity, float), np.array(kept, float)))


def test_learning_all_and_losing_nothing_is_one():
    assert area([0, 0.4, 1], [1, 1, 1]) == 1


@given(st.lists(share, min_size=1, max_size=6))
def test_learning_nothing_is_nought(kept):
    assert area([0] * (len(kept) + 1), [1, *kept]) == 0


@pytest.mark.parametrize("end", [0.25, 0.5, 1.0])
def test_a_straight_line_to_what_was_learnt(end):
    """Kept falls from 1 to 0.6 on the way to `end`; beyond it nothing counts."""
    assert area([0, end], [1, 0.6]) == pytest.approx(end * 0.8, abs=1e-9)


def test_the_best_point_that_learnt_as_much_counts():
    """A dip that recovers costs nothing: the last evaluation learnt all and kept all."""
    assert area([0, 0.5, 1], [1, 0.2, 1]) == 1


def test_levels_begin_at_what_was_known_before():
    assert area([0.5, 1], [1, 0.5]) == pytest.approx(0.75, abs=1e-9)


@given(st.lists(st.tuples(share, share), min_size=2, max_size=6), st.floats(0, 0.5))
def test_keeping_less_is_never_better(points, less):
    plasticity, kept = map(np.array, zip(*points, strict=True))
    assert area(plasticity, kept - less) <= area(plasticity, kept) + 1e-12


@given(st.lists(st.tuples(share, share), min_size=2, max_size=6), share, share)
def test_another_evaluation_is_never_worse(points, learnt, left):
    """More to choose from: each point stays on the curve."""
    plasticity, kept = map(list, zip(*points, strict=True))
    more = area([*plasticity, learnt], [*kept, left])
    assert more >= area(plasticity, kept) - 1e-12


def test_draws_are_taken_one_by_one():
    random = np.random.default_rng(0)
    plasticity, kept = random.random((2, 3, 5, 4))
    found = frontier_area(plasticity, kept)
    assert found.shape == (3, 5)
    assert found[1, 2] == area(plasticity[1, 2], kept[1, 2])


@pytest.mark.parametrize("points", [([0.0], [1.0]), ([0.0, 1.0], [1.0, 1.0, 1.0])])
def test_curves_of_unlike_shape_are_refused(points, types_unchecked):
    with pytest.raises(InputError, match="two or more evaluations"):
        area(*points)


def test_no_way_leads_from_the_start_to_a_repair():
    learnt, kept = np.array([0.0, 0.8, 1.0]), np.array([1.0, 0.9, 0.7])
    assert frontier_area(learnt, kept) == pytest.approx(0.8 * 0.95 + 0.2 * 0.8)
    found = frontier_area(learnt, kept, repaired=True)
    assert found == pytest.approx(0.8 * 0.9 + 0.2 * 0.8)
