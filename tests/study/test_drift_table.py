"""The drift's mean and interval are those of the facts."""

import numpy as np
import pandas as pd
import pytest
from tiny_models import places, shaken, tiny_model

from interfere.activations.recorder import record
from interfere.measures.comparison import compare
from interfere.measures.statistics import mean_interval
from interfere.study.drift_table import RESAMPLES, as_metrics, drift_table


def test_by_hook_and_position(tmp_path):
    facts = places()[:20]
    before = record(tiny_model(), facts, tmp_path / "before.h5")
    after = record(shaken(1, 0.1), facts, tmp_path / "after.h5")
    table = drift_table(before, after.path).set_index(["hook", "position"])
    each = compare(before, after).drift()
    place = ("blocks.1.hook_out", "prompt_last")
    own = each[(each["hook"] == place[0]) & (each["position"] == place[1])]["drift"]
    expected = mean_interval(
        own.to_numpy()[None], [fact.answer for fact in facts], resamples=RESAMPLES
    )
    assert table.loc[place].tolist() == pytest.approx(
        [expected.value, expected.low, expected.high]
    )
    assert len(table) == len(before.hooks) * len(before.positions)


def test_long_form_names_the_ends():
    table = pd.DataFrame({"hook": ["h"], "drift": [0.2], "low": [0.1], "high": [np.nan]})
    found = as_metrics(table, "drift_base")
    assert found["metric"].tolist() == ["drift_base", "drift_base_low", "drift_base_high"]
    assert found["value"].tolist() == pytest.approx([0.2, 0.1, np.nan], nan_ok=True)
    assert set(found.columns) == {"hook", "metric", "value"}
