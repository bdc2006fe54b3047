"""What every measure takes, and how it says what is wrong with it."""

import numpy as np
import pandas as pd
import pytest
import torch

from interfere.errors import InputError
from interfere.measures.rows import as_codes, as_rows


def test_heads_are_laid_side_by_side():
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    rows = as_rows(x)
    assert rows.dtype == np.float64
    assert rows.tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_bfloat16_with_a_gradient_is_taken():
    x = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    assert as_rows(x).tolist() == [[1.0] * 3] * 2


def test_a_vector_is_refused():
    with pytest.raises(InputError, match=r"hook: expected a row a fact, .* shape \(3,\)"):
        as_rows(np.zeros(3), "hook")


def test_too_few_rows_are_refused():
    with pytest.raises(InputError, match="hook: needs at least 4 facts, got 3"):
        as_rows(np.zeros((3, 2)), "hook", least=4)


def test_nan_is_refused_by_fact():
    x = np.zeros((5, 2))
    x[2, 1], x[4, 0] = np.nan, -np.inf
    with pytest.raises(InputError, match=r"hook: fact 2 has a NaN .*\(2 of 5 facts have\)"):
        as_rows(x, "hook")


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "b"], np.array([7, 1, 7]), pd.Series(["b", "a", "b"], index=[9, 8, 7])],
)
def test_codes_in_order_of_appearance(labels):
    assert as_codes(labels, 3).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "labels",
    [
        ["a", None, "b"],
        ["a", float("nan"), "b"],
        pd.Series(["a", None, "b"]),
        np.array([0.0, np.nan, 1]),
    ],
)
def test_a_missing_label_is_refused(labels):
    with pytest.raises(InputError, match="clusters: fact 1 has no label"):
        as_codes(labels, 3)


def test_another_number_of_labels_is_refused():
    with pytest.raises(
        InputError, match=r"answers: expected a label for each of 3 .* got 2"
    ):
        as_codes(["a", "b"], 3, "answers")
