"""The table a study writes: layers, components, arms."""

import numpy as np
import pandas as pd
import pytest
from tiny_models import places

from interfere.errors import InputError
from interfere.interventions.activation_patching import HOOKS, activation_patching
from interfere.interventions.outcomes import outcomes_table
from interfere.interventions.patching_table import patching_table

pytestmark = pytest.mark.filterwarnings("ignore:ratio is NaN")


@pytest.fixture(scope="module")
def seeds(before, after, alter):
    other = alter(before, only="model.layers.1", size=0.1)
    hooks = [*HOOKS, "blocks.*.attn.hook_z"]
    options = {"hooks": hooks, "positions": ["prompt_last"], "each_head": True}
    return [activation_patching(before, m, places()[:8], **options) for m in (after, other)]


def test_rows_have_their_layer_and_component(seeds):
    found = patching_table({"SFT": seeds, "one": seeds[:1]}, resamples=50)
    assert found["arm"].value_counts().to_dict() == {"SFT": 21, "one": 21}
    assert found.groupby("arm")["seeds"].first().to_dict() == {"SFT": 2, "one": 1}
    assert (found["facts"] == 8).all()
    own = found[found["arm"] == "SFT"]
    counts = own.groupby(["layer", "component"]).size()
    assert counts.to_dict() == {
        (layer, component): 4 if component == "heads" else 1
        for layer in range(3)
        for component in ("residual stream", "attention", "MLP", "heads")
    }
    for row in own.itertuples():
        assert row.hook.startswith(f"blocks.{row.layer}.")
        assert pd.isna(row.head) == (row.component != "heads")
    expected = outcomes_table(seeds, resamples=50)
    np.testing.assert_array_equal(own["gain"], expected["gain"])


def test_survives_being_written(seeds, tmp_path):
    found = patching_table({"SFT": seeds}, resamples=50)
    found.to_csv(tmp_path / "patching.csv", index=False)
    again = pd.read_csv(tmp_path / "patching.csv")
    assert again["head"].isna().tolist() == found["head"].isna().tolist()
    assert again["gain"].tolist() == pytest.approx(found["gain"].tolist())


def test_what_has_no_layer_is_refused(before, after):
    found = activation_patching(
        before, after, places()[:4], hooks="ln_final.hook_out", positions=["all"]
    )
    with pytest.raises(InputError, match=r"ln_final.hook_out is in no block"):
        patching_table({"SFT": [found]}, resamples=50)
    with pytest.raises(InputError, match="no arms"):
        patching_table({})
