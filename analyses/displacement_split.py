"""How much of the held-out facts' movement is one shift, common to all facts of a relation.

By layer, from the format checkpoint to an arm's end: mean over seeds of the share of the
squared displacement, with the mean of the seeds' intervals (95 %, answers resampled).
"""

from pathlib import Path

import pandas as pd
import typer
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.measures.comparison import compare
from interfere.models.layers import residual_layer
from interfere.plotting import style
from interfere.study.results_folder import recordings

DEEP = True
VALUES = ["common", "low", "high"]


def tabulate(study: Path) -> pd.DataFrame:
    """Mean over seeds by arm, position and layer; residual stream only."""
    index = recordings(study)
    held = index[index["set"] == "held_out"]
    before = held.loc[held["when"] == "before", "path"]
    after = held[held["when"] == "after"]
    if before.empty or after.empty:
        raise InputError(f"{study} has no recordings of held-out facts before and after")
    tables = [
        compare(before.iloc[0], row["path"]).split().assign(arm=row["arm"])
        for row in after.to_dict("records")
    ]
    table = pd.concat(tables)
    table = table.assign(layer=table["hook"].map(residual_layer)).dropna(subset="layer")
    if table.empty:
        raise InputError("the recordings hold no residual stream; add blocks.*.hook_out")
    table = table.astype({"layer": int})
    seeds = table.groupby(["arm", "position", "layer"], sort=False)[VALUES]
    return seeds.mean().reset_index()


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a position, a line an arm; the whiskers stand side by side."""
    looks = style.looks(numbers["arm"])
    figure, axes = style.panels_by_position(numbers["position"], 3.8)
    for position, axis in axes.items():
        panel = numbers[numbers["position"] == position].sort_values("layer")
        for i, (name, look) in enumerate(looks.items()):
            line = panel[panel["arm"] == name]
            aside = 0.06 * (i - (len(looks) - 1) / 2)
            reach = [line["common"] - line["low"], line["high"] - line["common"]]
            axis.errorbar(
                line["layer"] + aside,
                line["common"],
                yerr=reach,
                label=name,
                marker="o",
                markersize=3,
                elinewidth=0.8,
                **look,
            )
        axis.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
    first = next(iter(axes.values()))
    first.set_ylabel("share of movement common to the relation")
    style.legend_below(figure, first)
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(study)
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
