"""The script reads a study's recordings, averages seeds, and draws few layers and many."""

import analysis_script
import numpy as np
import pandas as pd
import pytest
from countries import countries
from tiny_models import shaken, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.measures.comparison import compare
from interfere.measures.folds import fact_folds
from interfere.measures.probe_transfer import readings
from interfere.plotting import style

ARMS = ("plain", "shaken")


@pytest.fixture(scope="module")
def script():
    return analysis_script.script("probe_transfer")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two arms of two seeds: one that changed nothing, one with shaken weights."""
    root = tmp_path_factory.mktemp("cache")
    folder = root / "results" / "small"
    folder.mkdir(parents=True)
    rows = []
    for arm, seed in (("start", -1), *((arm, seed) for arm in ARMS for seed in (0, 1))):
        model = shaken(seed, 0.1) if arm == "shaken" else tiny_model()
        name = f"{arm}-{seed}.h5"
        record(model, countries(3, 22), root / name, positions=["subject_last"])
        when = "before" if arm == "start" else "after"
        rows.append({"arm": arm, "seed": seed, "set": "held_out", "when": when})
        rows[-1]["path"] = name
    pd.DataFrame(rows).to_csv(folder / "recordings.csv", index=False)
    return folder


def test_numbers_are_those_of_the_recordings(script, study):
    table = script.tabulate(study)
    assert len(table) == 2 * 3 * 6
    root = study.parent.parent
    key = "blocks.1.hook_out", "subject_last"
    found = []
    for seed in (0, 1):
        change = compare(root / "start--1.h5", root / f"shaken-{seed}.h5")
        sides = (side.numpy() for side in change.pair[key])
        found.append(
            readings(*sides, fact_folds(change.pair.before.table)).retrained.mean()
        )
    chosen = (table["arm"] == "shaken") & (table["layer"] == 1)
    row = table[chosen & (table["part"] == "retrained")].iloc[0]
    assert row["value"] == pytest.approx(np.mean(found))
    assert (row["seeds_low"], row["seeds_high"]) == pytest.approx(sorted(found))
    unchanged = table[(table["arm"] == "plain") & table["part"].isin(["erased", "misread"])]
    assert not unchanged["value"].any()


def test_draws_what_it_tabulates(script, study, tmp_path):
    script.main(study, tmp_path)
    assert (tmp_path / "probe_transfer.png").stat().st_size > 5000
    numbers = pd.read_csv(tmp_path / "probe_transfer.csv")
    assert set(numbers["arm"]) == set(ARMS)


def test_many_layers_are_lines(script, study):
    few = script.tabulate(study)
    many = pd.concat([few.assign(layer=few["layer"] + 3 * i) for i in range(4)])
    lines = [axis.get_lines() for axis in script.draw(many).axes]
    assert all(len(line.get_xdata()) == 12 for axis in lines for line in axis[: len(ARMS)])
    figure = script.draw(few)
    assert [len(axis.containers) for axis in figure.axes] == [2, 2]
    style.plt.close("all")


def test_a_study_without_recordings_is_refused(script, tmp_path):
    columns = ["arm", "seed", "set", "when", "path"]
    pd.DataFrame(columns=columns).to_csv(tmp_path / "recordings.csv", index=False)
    with pytest.raises(
        InputError, match="no recordings of held-out facts before and after"
    ):
        script.tabulate(tmp_path)
