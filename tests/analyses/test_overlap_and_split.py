"""Pictures that read recordings: what they tabulate, from a small study made by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from analysis_script import script
from tiny_models import places, shaken, tiny_model

from interfere.activations.recorder import record
from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.measures.comparison import compare
from interfere.measures.overlap_null import overlap_null
from interfere.study.study import Study

RANK = 3


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A results folder: held-out facts before and after two arms, and a control."""
    root = tmp_path_factory.mktemp("cache")
    folder = root / "results" / "hand"
    folder.mkdir(parents=True)
    (root / "runs").mkdir()
    held, control = places()[:30], places()[30:]
    rows = []

    def keep(arm: str, seed: int, kind: str, when: str, model, facts: FactSet) -> None:
        path = f"runs/{arm}-{seed}-{kind}.h5"
        record(model, facts, root / path, hooks=["blocks.*.hook_out", "ln_final.hook_out"])
        rows.append({"arm": arm, "seed": seed, "set": kind, "when": when, "path": path})

    keep("start", -1, "held_out", "before", tiny_model(), held)
    keep("start", -1, "control", "before", tiny_model(), control)
    for seed in (0, 1):
        keep("SFT", seed, "held_out", "after", shaken(seed, 0.02), held)
        keep("Known only", seed, "held_out", "after", shaken(seed + 2, 0.02), held)
    pd.DataFrame(rows).to_csv(folder / "recordings.csv", index=False)
    settings = Study(name="hand", interference={"rank": RANK}, arms=[{"name": "SFT"}])
    (folder / "study.json").write_text(settings.model_dump_json())
    return folder


def test_split_is_the_mean_of_the_seeds_comparisons(study):
    found = script("displacement_split").tabulate(study)
    assert len(found) == 2 * 3 * 3  # arms, positions, blocks; the last norm is left out
    runs = study.parent.parent / "runs"
    splits = [
        compare(runs / "start--1-held_out.h5", runs / f"SFT-{seed}-held_out.h5").split()
        for seed in (0, 1)
    ]
    for row in found[found["arm"] == "SFT"].itertuples():
        hook = f"blocks.{row.layer}.hook_out"
        here = [s[(s["hook"] == hook) & (s["position"] == row.position)] for s in splits]
        for column in ("common", "low", "high"):
            expected = np.mean([float(part[column].iloc[0]) for part in here])
            assert getattr(row, column) == pytest.approx(expected)


def test_pictures_are_drawn_with_what_they_draw(study, tmp_path):
    script("displacement_split").main(study, tmp_path)
    assert (tmp_path / "displacement_split.pdf").stat().st_size > 1000
    drawn = pd.read_csv(tmp_path / "displacement_split.csv")
    assert set(drawn["arm"]) == {"SFT", "Known only"}


def test_the_null_bands_are_quantiles_of_the_draws(study):
    found = script("overlap_by_layer").tabulate_null(study)
    assert len(found) == 3 * 3
    runs = study.parent.parent / "runs"
    row = found[(found["layer"] == 1) & (found["position"] == "prompt_last")].iloc[0]
    sets = [
        open_recording(runs / f"start--1-{kind}.h5")[
            "blocks.1.hook_out", "prompt_last"
        ].numpy()
        for kind in ("held_out", "control")
    ]
    null = overlap_null(*sets, rank=RANK)
    assert row["as_old_low"] == pytest.approx(np.quantile(null.as_old, 0.025))
    assert row["as_control_high"] == pytest.approx(np.quantile(null.as_control, 0.975))


def test_the_overlap_is_drawn_with_bands_and_without(study, tmp_path):
    values = pd.DataFrame(
        [
            {"keys": "hex", "position": position, "hook": f"blocks.{block}.hook_out",
             "metric": metric, "value": value}
            for position in ("subject_last", "prompt_last")
            for block in range(3)
            for metric, value in zip(
                ("overlap", "overlap_low", "overlap_high"), (0.2, 0.1, 0.3), strict=True
            )
        ]
    )  # fmt: skip
    values.to_parquet(study / "results.parquet")
    module = script("overlap_by_layer")
    module.main(study, tmp_path)
    drawn = pd.read_csv(tmp_path / "overlap_by_layer.csv")
    assert drawn[["as_old_low", "as_control_high"]].notna().all(axis=None)
    labels = [text.get_text() for text in legend(module.draw(drawn))]
    assert labels == ["hex", "old facts as if new", "control as if new"]
    assert [t.get_text() for t in legend(module.draw(module.tabulate(values)))] == ["hex"]


def legend(figure):
    plt.close(figure)
    return figure.legends[0].get_texts()


def test_a_study_without_held_out_recordings_is_refused(study, tmp_path):
    index = pd.read_csv(study / "recordings.csv")
    index[index["when"] == "before"].to_csv(tmp_path / "recordings.csv", index=False)
    with pytest.raises(
        InputError, match="no recordings of held-out facts before and after"
    ):
        script("displacement_split").tabulate(tmp_path)


def test_without_a_control_there_are_no_bands(study, tmp_path):
    index = pd.read_csv(study / "recordings.csv")
    index[index["set"] != "control"].to_csv(tmp_path / "recordings.csv", index=False)
    (tmp_path / "study.json").write_text((study / "study.json").read_text())
    assert script("overlap_by_layer").tabulate_null(tmp_path).empty
