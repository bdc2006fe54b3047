"""What is lost at each amount learnt, by family of mitigation; SFT grey in every panel."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.plotting import style
from interfere.study.frontier import read_frontier

FAMILIES = {
    "Other subjects": ("none",),
    "Self-distillation": ("self-distillation",),
    "Targeted distillation": ("targeted-distillation",),
    "Fewer parameters": ("attention-only", "ffn-only", "freezing", "lora"),
    "Penalties on weights": ("l2-anchor", "ewc"),
    "Gradients and stopping": ("gradient-projection", "stability-stopping"),
    "Rehearsal": ("replay", "known-patch"),
    "Repairs after training": ("wise-ft", "direction-out", "common-shift-out"),
}
"""Panels: mitigations and repairs by their names."""
COLUMNS = 4
PLAIN = {"color": "0.6", "linestyle": "-"}


def tabulate(numbers: pd.DataFrame) -> pd.DataFrame:
    """The frontier with the panel of each arm; net loss in place of what is kept."""
    family = {name: title for title, names in FAMILIES.items() for name in names}
    if unknown := set(numbers["mitigation"]) - family.keys():
        raise InputError(f"no panel for {sorted(unknown)[0]!r}: add it to FAMILIES")
    table = numbers.assign(panel=numbers["mitigation"].map(family))
    # No straight line leads from the start to a repaired model.
    repaired = table["mitigation"].isin(FAMILIES["Repairs after training"])
    table = table[~(repaired & (table["step"] == 0))].copy()
    for lost, kept in (("", ""), ("_low", "_high"), ("_high", "_low")):
        table[f"net_loss{lost}"] = 1 - table[f"kept{kept}"]
    return table.drop(columns=["kept", "kept_low", "kept_high"])


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a family that is there; a curve an arm, a point an evaluation."""
    plain = numbers[numbers["plain"]]
    others = numbers[~numbers["plain"]]
    panels = [title for title in FAMILIES if title in set(others["panel"])]
    if not panels:
        raise InputError(
            "the study has plain fine-tuning only: there is nothing to compare"
        )
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.3 * columns, 3.6 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        axis.tick_params(labelbottom=True)
    for axis, title in zip(axes.flat, panels, strict=False):
        _curves(axis, plain, lambda _: PLAIN)
        panel = others[others["panel"] == title]
        _curves(axis, panel, style.looks(panel["arm"]).__getitem__)
        axis.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
        axis.set_title(title)
        axis.legend(fontsize=6.5, loc="upper left")
    # Room for the legends above the curves.
    top = float(np.nanmax(numbers["net_loss_high"]))
    axes.flat[0].set_ylim(None, top * 1.5)
    figure.supxlabel("plasticity: share of the new facts learnt", fontsize=9)
    figure.supylabel("net loss: share of held-out old facts lost", fontsize=9)
    return figure


def _curves(
    axis: Axes, table: pd.DataFrame, look_of: Callable[[str], dict[str, Any]]
) -> None:
    for name, line in table.groupby("arm", sort=False):
        line = line.sort_values("step")
        style.band(
            axis,
            line["plasticity"],
            line[["net_loss", "net_loss_low", "net_loss_high"]],
            str(name),
            look_of(str(name)),
            marker="o",
        )


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(read_frontier(study))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
