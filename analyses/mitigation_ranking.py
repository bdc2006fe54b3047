"""Every mitigation beside plain fine-tuning: area under the frontier, loss, and cost."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.plotting import style
from interfere.study.frontier import read_comparison

PANELS = {
    "area_gain": "area under the frontier,\nmore than SFT's",
    "net_loss_0.9": "net loss\nat plasticity .9",
    "net_loss_end": "net loss\nat the end",
    "forwards": "forward passes,\ntimes SFT's",
}


def tabulate(table: pd.DataFrame) -> pd.DataFrame:
    """Arms by the area under their frontier, best first."""
    if len(table) < 2:
        raise InputError("the study has one arm that learns new facts: nothing to rank")
    if missing := sorted({*PANELS} - {*table.columns}):
        raise InputError(
            f"comparison.csv lacks {missing[0]!r}, as those of earlier versions do; "
            "`interfere reproduce` writes it anew"
        )
    kept = ["arm", "settings", "learning_rate", "plasticity"]
    for column in PANELS:
        ends = [f"{column}{end}" for end in ("", "_low", "_high", "_reached")]
        kept += [name for name in ends if name in table.columns]
    return table.sort_values("area_gain", ascending=False)[kept].reset_index(drop=True)


def draw(numbers: pd.DataFrame) -> Figure:
    """A row an arm; 95 % intervals over answers, arms under the same draws."""
    count = len(numbers)
    figure, axes = plt.subplots(
        1,
        len(PANELS),
        figsize=(11, 0.24 * count + 1.3),
        sharey=True,
        layout="constrained",
    )
    for axis, (column, title) in zip(axes, PANELS.items(), strict=True):
        for place, row in enumerate(numbers.to_dict("records")):
            if row.get(f"{column}_reached") is False:
                _note(axis, place, "not reached")
            elif column in row and not np.isnan(row[column]):
                _point(axis, place, row, column)
        axis.axvline(1 if column == "forwards" else 0, color="0.5", lw=0.8, ls=":")
        axis.set_title(title, fontsize=9)
    if numbers["forwards"].max() > 2:  # below it, a scale of doublings has one tick
        axes[-1].set_xscale("log", base=2)
    axes[-1].xaxis.set_major_formatter("{x:g}")
    axes[0].set(yticks=range(count), yticklabels=numbers["arm"])
    axes[0].invert_yaxis()
    return figure


def _point(axis: Axes, place: int, row: dict[str, float], column: str) -> None:
    low, high = (row.get(f"{column}_{end}", np.nan) for end in ("low", "high"))
    apart = not np.isnan(low) and (low > 0 or high < 0)
    colour = style.COLOURS[0] if apart or column == "forwards" else "0.45"
    axis.plot(row[column], place, "o", color=colour, markersize=4)
    axis.plot([low, high], [place, place], color=colour, linewidth=1.4)


def _note(axis: Axes, place: int, text: str) -> None:
    axis.text(
        0.5,
        place,
        text,
        va="center",
        ha="center",
        fontsize=7,
        color="0.4",
        transform=axis.get_yaxis_transform(),
    )


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(read_comparison(study))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
