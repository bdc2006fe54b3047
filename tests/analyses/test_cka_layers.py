"""The layer by layer picture, from real recordings laid out as a study lays them."""

import analysis_script
import numpy as np
import pandas as pd
import pytest
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.measures.comparison import compare

FACTS = places()[:40]


@pytest.fixture(scope="module")
def script():
    return analysis_script.script("cka_layers")


def study_of(folder, recordings):
    """A results folder whose index names recordings: (arm, seed, when) to a model's shaking."""
    study = folder / "results" / "tiny"
    study.mkdir(parents=True)
    rows = []
    for place, ((arm, seed, when), (model, positions)) in enumerate(recordings.items()):
        path = folder / "runs" / f"{place}.h5"
        path.parent.mkdir(exist_ok=True)
        record(model, FACTS, path, hooks="blocks.*.hook_out", positions=positions)
        row = {"arm": arm, "seed": seed, "set": "held_out", "when": when}
        rows.append(row | {"path": str(path.relative_to(folder))})
    pd.DataFrame(rows).to_csv(study / "recordings.csv", index=False)
    return study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    model = tiny_model()
    wanted = {("format checkpoint", -1, "before"): (model, ["subject_last"])}
    for arm, strength in (("mild", 0.01), ("wild", 0.3)):
        for seed in (0, 1):
            shaken = model.copy()
            for name, value in shaken.network.named_parameters():
                if "layers" in name:
                    noise = np.random.default_rng([seed, len(name)]).normal(
                        size=value.shape
                    )
                    value.data += strength * value.new_tensor(noise)
            wanted[arm, seed, "after"] = (shaken, ["subject_last"])
    return study_of(tmp_path_factory.mktemp("study"), wanted)


def test_is_the_mean_over_seeds_of_all_pairs(script, study):
    found = script.tabulate(study)
    paths = pd.read_csv(study / "recordings.csv")["path"].map(study.parent.parent.joinpath)
    seeds = [compare(paths[0], paths[i]).cka(all_pairs=True)["cka"] for i in (3, 4)]
    wild = found[found["arm"] == "wild"]
    assert wild["cka"].to_numpy() == pytest.approx(np.mean(seeds, axis=0))
    assert wild["seeds_low"].to_numpy() == pytest.approx(np.min(seeds, axis=0))
    assert wild["seeds_high"].to_numpy() == pytest.approx(np.max(seeds, axis=0))
    assert (wild["low"] < wild["cka"]).all()
    assert (wild["cka"] < wild["high"]).all()


def test_what_moved_more_is_less_like_the_start(script, study):
    found = script.tabulate(study)
    assert list(dict.fromkeys(found["arm"])) == ["before, itself", "mild", "wild"]
    same = found[found["layer"] == found["other_layer"]].groupby("arm")["cka"].min()
    assert same["before, itself"] == pytest.approx(1)
    assert same["before, itself"] > same["mild"] > same["wild"]


def test_draws_a_panel_an_arm_and_saves(script, study, tmp_path):
    script.main(study, tmp_path)
    kinds = {path.suffix for path in tmp_path.iterdir()}
    assert kinds == {".pdf", ".png", ".csv"}
    figure = script.draw(pd.read_csv(tmp_path / "cka_layers.csv"))
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["before, itself", "mild", "wild"]


def test_what_is_missing_is_named(script, study, tmp_path):
    other = study_of(
        tmp_path, {("format checkpoint", -1, "before"): (tiny_model(), ["prompt_last"])}
    )
    with pytest.raises(InputError, match=r"0.h5 holds no residual stream at subject_last"):
        script.tabulate(other)
    pd.read_csv(study / "recordings.csv").query("when == 'after'").to_csv(
        other / "recordings.csv"
    )
    with pytest.raises(InputError, match="no recording of held-out facts before training"):
        script.tabulate(other)
