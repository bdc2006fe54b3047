"""Held-out facts lost beyond the Known-only control, by arm, at equal plasticity."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.plotting import style
from interfere.study.headline import read_headline

PANELS = {
    "net_loss_0.5_beyond": "at plasticity .5",
    "net_loss_0.9_beyond": "at plasticity .9",
    "net_loss_end_beyond": "at the end",
    "forgetting": "the paper's forgetting, at the end",
}


def tabulate(table: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and panel: value, interval where there is one, and whether reached."""
    rows = []
    for row in table.to_dict("records"):
        for column, title in PANELS.items():
            rows.append(
                {
                    "arm": row["arm"],
                    "panel": title,
                    "value": row.get(column, np.nan),
                    "low": row.get(f"{column}_low", np.nan),
                    "high": row.get(f"{column}_high", np.nan),
                    "smallest": row.get(f"{column}_smallest", np.nan),
                    "reached": row.get(f"{column.removesuffix('_beyond')}_reached", True),
                }
            )
    if not rows:
        raise InputError("the study has no arms")
    return pd.DataFrame(rows)


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a level; points with 95 % intervals over answers."""
    arms = list(dict.fromkeys(numbers["arm"]))
    figure, axes = plt.subplots(
        1,
        len(PANELS),
        figsize=(11, 0.36 * len(arms) + 1.5),
        sharey=True,
        layout="constrained",
    )
    for axis, title in zip(axes, PANELS.values(), strict=True):
        panel = numbers[numbers["panel"] == title].set_index("arm").reindex(arms)
        for place, (_, row) in enumerate(panel.iterrows()):
            colour = style.COLOURS[place % len(style.COLOURS)]
            if row["reached"] is False or row["reached"] == False:  # noqa: E712
                axis.text(
                    0.5,
                    place,
                    "not reached",
                    va="center",
                    ha="center",
                    fontsize=8,
                    color="0.4",
                    transform=axis.get_yaxis_transform(),
                )
            elif not np.isnan(row["value"]):
                axis.plot(row["value"], place, "o", color=colour)
                axis.plot([row["low"], row["high"]], [place, place], color=colour)
        axis.axvline(0, color="0.5", linewidth=0.8, linestyle=":")
        axis.set_title(title, fontsize=9)
    axes[0].set(yticks=range(len(arms)), yticklabels=arms)
    axes[0].invert_yaxis()
    figure.supxlabel(
        "net loss beyond the control: share of held-out facts (95 % interval over answers); "
        "right: forgetting, (peak − final) / peak",
        fontsize=9,
    )
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(read_headline(study))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
