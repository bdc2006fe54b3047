"""Each script's table, from results made by hand; the pictures are drawn in test_reproduce."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_script import script

from interfere.errors import InputError
from interfere.report.figures import scripts


def rows(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


ACCURACY = pd.concat(
    [
        rows(arm="SFT", metric=metric, epoch=[0.0, 1.0] * 2, seed=[0, 0, 1, 1],
             value=[0.0, 0.5, 0.2, 0.7])
        for metric in ("task", "plasticity", "stability")
    ]
)  # fmt: skip


def test_accuracy_is_mean_and_range_of_seeds():
    found = script("accuracy_by_epoch").tabulate(ACCURACY)
    end = found[(found["metric"] == "task") & (found["epoch"] == 1)].iloc[0]
    assert (end["mean"], end["min"], end["max"]) == pytest.approx((0.6, 0.5, 0.7))


def test_accuracy_names_what_is_missing():
    with pytest.raises(InputError, match=r"lack \['task'\]"):
        script("accuracy_by_epoch").tabulate(ACCURACY[ACCURACY["metric"] != "task"])


def test_drift_keeps_the_residual_stream_at_the_subject():
    results = rows(
        arm="SFT",
        metric="drift",
        seed=0,
        epoch=1.0,
        position=["subject_last", "subject_last", "prompt_last"],
        hook=["blocks.3.hook_out", "blocks.3.hook_attn_out", "blocks.3.hook_out"],
        value=[0.1, 0.9, 0.9],
    )
    found = script("drift_by_layer").tabulate(results)
    assert found[["layer", "mean"]].to_numpy().tolist() == [[3, 0.1]]


def test_overlap_lays_the_interval_beside_the_value():
    results = rows(
        keys="hex", position="subject_last", hook="blocks.0.hook_out", seed=0,
        metric=["overlap", "overlap_low", "overlap_high"], value=[0.2, 0.1, 0.3],
    )  # fmt: skip
    found = script("overlap_by_layer").tabulate(results).iloc[0]
    assert found[["overlap", "overlap_low", "overlap_high"]].tolist() == [0.2, 0.1, 0.3]


def test_table_1_puts_the_paper_beside_the_last_step():
    results = rows(
        mitigation="attention-only", keys="natural", step=[1, 9] * 3, seed=0,
        metric=np.repeat(["task", "plasticity", "stability"], 2),
        value=[0, 1.0, 0, 0.2, 0, 0.9],
    )  # fmt: skip
    found = script("parameter_groups").tabulate(results)
    assert found["group"].unique().tolist() == ["attention only"]
    assert found["mean"].tolist() == [1.0, 0.2, 0.9]
    assert found["paper"].tolist() == [0.946, 0.010, 0.931]


def test_net_loss_says_what_was_not_reached():
    headline = pd.DataFrame(
        [{"arm": "slow", "net_loss_0.9_reached": False, "net_loss_end_beyond": 0.1}]
    )
    found = script("net_loss_by_arm").tabulate(headline).set_index("panel")
    assert not found.loc["at plasticity .9", "reached"]
    assert found.loc["at the end", "value"] == 0.1


def test_forgetting_nothing_counts_as_reached():
    found = script("net_loss_by_arm").tabulate(
        pd.DataFrame([{"arm": "a", "forgetting": 0.0}])
    )
    paper = found.set_index("panel").loc["the paper's forgetting, at the end"]
    assert paper["reached"]
    assert paper["value"] == 0


def test_scripts_never_import_each_other():
    names = {path.stem for path in scripts()}
    for path in scripts():
        text = Path(path).read_text()
        assert not [name for name in names - {path.stem} if f"import {name}" in text]
