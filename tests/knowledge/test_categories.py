import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from interfere.knowledge.categories import SAMPLES, categories, ever_right


def test_by_hand():
    right = np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=bool)
    chance = np.array([[0.9, 0.9, 0.05, 0.003, 0.0], [0.9, 0.0, 0.0, 0.003, 0.001]])
    pi = ever_right(chance)
    assert pi[2] == pytest.approx(1 - 0.95**16)
    assert pi[3] == pytest.approx(1 - 0.997**32)
    names, strict = categories(right, pi)
    assert names == ["HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown", "Unknown"]
    assert strict.tolist() == [False, False, False, False, True]


def test_certain_and_impossible():
    assert ever_right(np.array([[1.0, 0.0], [0.0, 0.0]])).tolist() == [1.0, 0.0]


def test_a_fact_right_once_is_not_unknown_however_unlikely():
    names, strict = categories(np.array([[True], [False]]), np.array([0.001]))
    assert names == ["MaybeKnown"]
    assert not strict.any()


@given(arrays(float, (3, 4), elements=st.floats(0, 1)))
def test_pi_is_the_product_formula_and_grows_with_prompts(chance):
    pi = ever_right(chance)
    np.testing.assert_allclose(pi, 1 - np.prod((1 - chance) ** SAMPLES, axis=0), atol=1e-12)
    assert (ever_right(chance[:2]) <= pi + 1e-12).all()
