"""Columns of intervals, and their p-values over the rows of a table."""

import numpy as np
import pandas as pd
import pytest

from interfere.measures.holm import holm
from interfere.measures.interval_columns import corrected, interval_columns
from interfere.measures.statistics import mean_interval


def table() -> pd.DataFrame:
    rows = []
    for layer in range(6):
        x = np.random.default_rng(layer).normal(layer % 3 / 3, 1, size=(1, 40))
        both = {
            "before": mean_interval(x + 5, range(40)),
            "change": mean_interval(x, range(40)),
        }
        rows.append({"layer": layer, "half": layer // 3} | interval_columns(**both))
    return pd.DataFrame(rows)


def test_p_of_what_is_tested_is_corrected_over_the_rows():
    found = corrected(table(), ["change"])
    assert "before_p" not in found
    assert found["change_p_holm"].tolist() == holm(found["change_p"].to_numpy()).tolist()
    place = found.columns.get_loc("change_p")
    assert found.columns[place + 1] == "change_p_holm"


def test_no_rows_are_no_tests():
    assert corrected(pd.DataFrame(), ["change"]).empty


def test_families_are_apart():
    found = corrected(table(), ["change"], by="half")
    for _, rows in found.groupby("half"):
        assert rows["change_p_holm"].to_numpy() == pytest.approx(
            holm(rows["change_p"].to_numpy())
        )
