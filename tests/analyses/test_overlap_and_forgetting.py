"""What is drawn is what was measured, with whatever predictors there are."""

import analysis_script
import numpy as np
import pytest
from planted_forgetting import planted

from interfere.errors import InputError
from interfere.measures.predict_forgetting import predict_forgetting


@pytest.fixture(scope="module")
def script():
    return analysis_script.script("overlap_and_forgetting")


TABLE = planted(0, answers=20, each=6).rename(columns={"acts": "overlap"})
COLUMNS = ["margin", "overlap", "noise"]


@pytest.fixture(scope="module")
def numbers(script):
    return script.tabulate(TABLE, COLUMNS)


def test_the_line_is_the_slope_and_tenths_follow_it(numbers):
    found = predict_forgetting(TABLE, {"margin": -1, "overlap": 1, "noise": 1})
    line = numbers[numbers["panel"] == "line"].iloc[0]
    assert line["predictor"] == "overlap"
    assert line["value"] == pytest.approx(found.of("nats").loc["overlap", "value"])
    tenths = numbers[numbers["panel"] == "tenth"]
    assert len(tenths) == 10
    assert tenths["x"].is_monotonic_increasing
    slope = np.polyfit(tenths["x"], tenths["value"], 1)[0]
    assert slope == pytest.approx(line["value"], rel=0.3)
    assert ((tenths["low"] <= tenths["value"]) & (tenths["value"] <= tenths["high"])).all()


def test_every_area_has_its_interval_and_what_it_adds(numbers):
    areas = numbers[numbers["panel"] == "auc"].set_index("predictor")
    assert areas.index.tolist() == [*COLUMNS, "before"]
    assert (areas["low"] < areas["value"]).all()
    beyond = numbers[numbers["panel"] == "beyond_margin"].set_index("predictor")
    expected = areas.loc["overlap", "value"] - areas.loc["margin", "value"]
    assert beyond.loc["overlap", "value"] == pytest.approx(expected)
    assert set(numbers[numbers["panel"] == "added"]["predictor"]) == set(COLUMNS)


def test_without_overlap_and_margin_the_first_predictor_is_drawn(script, tmp_path):
    numbers = script.tabulate(TABLE, ["noise"])
    assert numbers[numbers["panel"] == "line"]["predictor"].tolist() == ["noise"]
    assert "beyond_margin" not in set(numbers["panel"])
    script.style.save(script.draw(numbers), numbers, tmp_path / "picture")
    assert (tmp_path / "picture.png").stat().st_size > 5000


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nothing_forgotten_is_drawn_as_nothing(script, tmp_path):
    table = TABLE.assign(right_before=True, right_after=True)
    numbers = script.tabulate(table, COLUMNS)
    script.style.save(script.draw(numbers), numbers, tmp_path / "picture")
    assert numbers[numbers["panel"] == "auc"]["value"].isna().all()


def test_old_results_without_predictors_say_what_to_do(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "read", lambda study: (None, None, None))
    with pytest.raises(InputError, match="holds no predictors; run `interfere reproduce"):
        script.main(tmp_path, tmp_path)
