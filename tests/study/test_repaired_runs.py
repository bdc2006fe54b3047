"""A repair mends what its arm's run kept, or trains it itself: to the same outcome."""

import pandas as pd
import pytest
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
