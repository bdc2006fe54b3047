"""Holm's step-down is the closed test of Bonferroni's."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.holm import holm

P = st.lists(st.floats(0, 1), min_size=1, max_size=7)


def test_by_hand():
    found = holm(np.array([0.04, 0.01, 0.03, 0.02]))
    assert found == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(P)
def test_is_the_closure_of_bonferroni(values):
    """A hypothesis falls only if every set of hypotheses with it does, by Bonferroni."""
    p, every = np.array(values), range(len(values))
    sets = [s for size in range(1, len(p) + 1) for s in combinations(every, size)]
    expected = [
        max(min(1, len(s) * min(p[list(s)])) for s in sets if i in s) for i in every
    ]
    assert holm(p) == pytest.approx(expected)


@given(P, st.randoms())
def test_moves_with_the_tests_and_never_helps(values, random):
    p = np.array(values)
    order = list(range(len(p)))
    random.shuffle(order)
    assert holm(p[order]) == pytest.approx(holm(p)[order])
    assert (holm(p) >= p).all()


def test_what_was_not_tested_does_not_count():
    found = holm(np.array([0.01, np.nan, 0.04]))
    assert found[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(found[1])


def test_no_probability_is_refused():
    with pytest.raises(InputError, match=r"lies in \[0, 1\], got 1.2"):
        holm(np.array([0.5, 1.2]))
