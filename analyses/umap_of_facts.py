"""Old and new facts before training, and old facts after it, in one map (UMAP).

Neighbourhoods mean something, distances and coordinates don't: they differ between machines.
"""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure
from umap import UMAP

from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.models.layers import residual_layer
from interfere.plotting import style
from interfere.study.results_folder import recordings
from interfere.study.study import Study

POSITION = "subject_last"
POINTS = 400
"""Facts of each kind at most: more hide each other."""

# no two of one marker: they are told apart in grey, too
KINDS = {
    "old, before": ("o", "0.55"),
    "old, after SFT": ("v", style.COLOURS[0]),
    "new, natural": ("^", style.COLOURS[2]),
    "new, semantic": ("D", style.COLOURS[1]),
    "new, hex": ("s", style.COLOURS[3]),
    "new, uuid": ("P", style.COLOURS[4]),
    "control": ("x", "0.2"),
}


def tabulate(study: Path) -> pd.DataFrame:
    """kind, fact, x, y: one map fitted on all rows together, at the study's declared hook."""
    configuration = Study.model_validate_json((study / "study.json").read_text())
    rows, labels = [], []
    hook = None
    for kind, path in _chosen(configuration, recordings(study)):
        recording = open_recording(path)
        hook = hook or configuration.interference.hook or middle(recording.hooks)
        activations = recording[hook, POSITION].numpy()[:POINTS]
        rows.append(activations)
        facts = recording.table["subject"].tolist()[:POINTS]
        labels += [{"kind": kind, "subject": subject, "hook": hook} for subject in facts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP warns that a seed costs it its threads
        places = UMAP(random_state=0, n_jobs=1).fit_transform(np.concatenate(rows))
    return pd.DataFrame(labels).assign(x=places[:, 0], y=places[:, 1])


def middle(hooks: list[str]) -> str:
    """The middle one of the residual stream's hooks."""
    blocks = [hook for hook in hooks if residual_layer(hook) is not None]
    if not blocks:
        raise InputError("the recordings hold no residual stream; add blocks.*.hook_out")
    return blocks[len(blocks) // 2]


def _chosen(configuration: Study, index: pd.DataFrame) -> list[tuple[str, Path]]:
    names = {"held_out": "old, before", "control": "control"}
    found = [
        (names.get(row["set"], f"new, {row['set']}"), row["path"])
        for row in index[index["when"] == "before"].to_dict("records")
    ]
    plain = [
        arm.name for arm in configuration.arms if arm.trains_new and not arm.mitigation
    ]
    after = index[(index["when"] == "after") & index["arm"].isin(plain)]
    found += [("old, after SFT", row["path"]) for row in after.head(1).to_dict("records")]
    return found


def draw(numbers: pd.DataFrame) -> Figure:
    """Left: old facts before and after, close up. Right: the whole map, new ones in it."""
    views = (
        ("old facts, before and after", ("old, before", "old, after SFT")),
        (
            "old facts and new ones, before",
            tuple(k for k in KINDS if k != "old, after SFT"),
        ),
    )
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
    for axis, (title, kinds) in zip(axes, views, strict=True):
        for kind in kinds:
            rows = numbers[numbers["kind"] == kind]
            if rows.empty:
                continue
            marker, colour = KINDS[kind]
            axis.scatter(
                rows["x"],
                rows["y"],
                s=9,
                marker=marker,
                color=colour,
                alpha=0.6,
                label=kind,
                linewidth=0 if marker != "x" else 0.8,
            )
        axis.set(title=title, xticks=[], yticks=[])
        axis.legend(loc="best", markerscale=2)
    figure.supxlabel(f"{numbers['hook'].iloc[0]}, last token of the subject", fontsize=9)
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(study)
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
