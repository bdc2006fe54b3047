"""Erased or misread: what probes for the answer lose by training, by layer and arm.

Top: what no new probe finds any more. Bottom: what a new probe finds and the old one doesn't.
"""

from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.measures.comparison import compare
from interfere.measures.folds import fact_folds
from interfere.measures.holm import holm
from interfere.measures.probe_transfer import readings, together
from interfere.models.layers import residual_layer
from interfere.plotting import style
from interfere.study.results_folder import recordings

DEEP = True
POSITIONS = {
    "subject_last": "last token of the subject",
    "prompt_last": "last token of the prompt",
}
PARTS = ("erased", "misread")
SHARES = ("before", "carried", "recentred", "retrained")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Told apart in grey too."""

WIDTH = 0.6
"""Of a layer's group of arms, in layers."""

MARKED = 8
"""Layers at most that are drawn as marks; more are drawn as lines."""


def tabulate(study: Path) -> pd.DataFrame:
    """arm, position, layer, part, chance, facts, classes, and the interval's fields.

    Parts: the shares of `measures.probe_transfer.ProbeTransfer`, erased and misread. Seeds
    are averaged, answers resampled.
    """
    index = recordings(study)
    held_out = index[index["set"] == "held_out"]
    starts = held_out[held_out["when"] == "before"]["path"]
    arms = held_out[held_out["when"] == "after"]
    if starts.empty or arms.empty:
        raise InputError(f"{study} has no recordings of held-out facts before and after")
    start = open_recording(starts.iloc[0])
    folds = fact_folds(start.table)
    answers = folds.labels(start.table["answer"], "answers")
    rows = []
    for arm, seeds in arms.groupby("arm", sort=False):
        changes = [compare(start, path) for path in seeds["path"]]
        for place in _places(changes[0].pair.hooks, changes[0].pair.positions):
            hook, position = f"blocks.{place['layer']}.hook_out", place["position"]
            found = together(
                [
                    readings(*(side.numpy() for side in change.pair[hook, position]), folds)
                    for change in changes
                ]
            ).summary(answers, chance=folds.chance)
            sizes = {"chance": folds.chance, "facts": found.facts}
            sizes["classes"] = len(folds.classes)
            rows += [
                {"arm": arm, **place, "part": part, **sizes, **asdict(getattr(found, part))}
                for part in (*SHARES, *PARTS)
            ]
    if not rows:
        raise InputError(
            f"{study}: no residual stream at {' or '.join(POSITIONS)} was recorded; add "
            "blocks.*.hook_out to record.hooks"
        )
    table = pd.DataFrame(rows)
    # SHARES are held against chance, of which there is no test.
    by = table.groupby(["arm", "part"], sort=False)["p_value"]
    return table.assign(p_holm=by.transform(lambda p: holm(p.to_numpy(float))))


def _places(hooks: list[str], positions: list[str]) -> list[dict[str, object]]:
    layers = [layer for hook in hooks if (layer := residual_layer(hook)) is not None]
    known = [position for position in POSITIONS if position in positions]
    return [{"position": p, "layer": layer} for p in known for layer in layers]


def draw(numbers: pd.DataFrame) -> Figure:
    """A row a part, a column a position, a mark or line with its interval an arm."""
    positions = [p for p in POSITIONS if p in set(numbers["position"])]
    looks = style.looks(numbers["arm"])
    figure, axes = plt.subplots(
        len(PARTS),
        len(positions),
        figsize=(4.4 * len(positions), 5.2),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for row, part in zip(axes, PARTS, strict=True):
        for axis, position in zip(row, positions, strict=True):
            panel = numbers[(numbers["part"] == part) & (numbers["position"] == position)]
            if panel["layer"].nunique() > MARKED:
                for arm, look in looks.items():
                    line = panel[panel["arm"] == arm].sort_values("layer")
                    style.band(
                        axis, line["layer"], line[["value", "low", "high"]], arm, look
                    )
            else:
                _marks(axis, panel, looks)
            axis.axhline(0, color="0.4", linewidth=0.8)
            axis.grid(visible=False, axis="x")
            axis.xaxis.get_major_locator().set_params(integer=True)
        row[0].set_ylabel(f"{part} (share of facts)")
    for axis, position in zip(axes[0], positions, strict=True):
        axis.set_title(POSITIONS[position])
    for axis in axes[-1]:
        axis.set_xlabel("block")
    style.legend_below(figure, axes[0][0])
    return figure


def _marks(axis: Axes, panel: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Arms side by side: as lines they would hide each other's intervals."""
    places = np.linspace(-WIDTH / 2, WIDTH / 2, len(looks)) if len(looks) > 1 else [0.0]
    for (arm, look), place, marker in zip(
        looks.items(), places, cycle(MARKERS), strict=False
    ):
        line = panel[panel["arm"] == arm]
        axis.errorbar(
            line["layer"] + place,
            line["value"],
            # A percentile interval need not hold the value itself.
            yerr=[
                (line["value"] - line["low"]).clip(lower=0),
                (line["high"] - line["value"]).clip(lower=0),
            ],
            color=look["color"],
            marker=marker,
            markersize=4,
            linestyle="none",
            linewidth=1.2,
            label=arm,
        )


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(study)
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
