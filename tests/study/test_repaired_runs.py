"""A repair mends what its arm's run kept, or trains it itself: to the same outcome."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from small_study import small_study

from interfere.study.preparation import prepare
from interfere.study.run import execute
from interfere.study.runner import plan

pytestmark = pytest.mark.slow

KEPT = "arms=[{name: SFT}, {name: WiSE-FT, repair: wise-ft}]", "keep_weights=true"


def test_kept_weights_are_mended_as_new_ones_are(tmp_path):
    with small_study(tmp_path, *KEPT) as study:
        sft, repair = plan(prepare(study, lambda _: None))
        folder = execute(repair)
        alone = pd.read_parquet(folder / "facts.parquet")
        (folder / "manifest.json").unlink()
        trained = pd.read_csv(execute(sft) / "cost.csv")
        shared = pd.read_parquet(execute(repair) / "facts.parquet")
        pd.testing.assert_frame_equal(shared, alone)
        # seconds are a clock's: equal only if they are the same run's
        pd.testing.assert_frame_equal(pd.read_csv(folder / "cost.csv"), trained)


def test_runs_that_only_choose_share_a_training(tmp_path):
    with small_study(tmp_path, *KEPT, "split.validation=20") as study:
        jobs = plan(prepare(study, lambda _: None))
        sft, repair = (replace(job, selecting=True) for job in jobs)
        folder = execute(repair)
        alone = pd.read_parquet(folder / "facts.parquet")
        assert set(alone["set"]) == {"unknown", "validation"}
        (folder / "manifest.json").unlink()
        threads = torch.get_num_threads()
        trained = pd.read_csv(execute(sft) / "cost.csv")
        assert torch.get_num_threads() == threads
        shared = pd.read_parquet(execute(repair) / "facts.parquet")
        pd.testing.assert_frame_equal(shared, alone)
        pd.testing.assert_frame_equal(pd.read_csv(folder / "cost.csv"), trained)
