"""How far held-out facts move from the format checkpoint, by layer and by epoch."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import typer
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.models.layers import residual_layer
from interfere.plotting import style

POSITION = "subject_last"
METRICS = ("drift", "drift_low", "drift_high")


def tabulate(results: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of drift (1 − cosine) and its interval, by arm, layer and epoch.

    Of the residual stream only.
    """
    chosen = results[results["metric"].isin(METRICS) & (results["position"] == POSITION)]
    layers = chosen["hook"].map(residual_layer)
    chosen = chosen[layers.notna()].assign(layer=layers)
    if chosen.empty:
        raise InputError(f"results hold no drift of the residual stream at {POSITION}")
    if missing := set(METRICS) - set(chosen["metric"]):
        raise InputError(
            f"results lack {', '.join(sorted(missing))}: an earlier version made them; run "
            "the study again"
        )
    keys = ["arm", "layer", "epoch"]
    table = chosen.pivot_table(index=keys, columns="metric", values="value", sort=False)
    return table.reset_index().reindex(columns=[*keys, *METRICS]).astype({"layer": int})


def draw(numbers: pd.DataFrame) -> Figure:
    """Left: by layer at the end. Right: by epoch at the middle layer."""
    looks = style.looks(numbers["arm"])
    middle = int(numbers["layer"].quantile(0.5, interpolation="higher"))
    views = (
        (
            "layer",
            numbers[numbers["epoch"] == numbers["epoch"].max()],
            "block",
            "at the end",
        ),
        (
            "epoch",
            numbers[numbers["layer"] == middle],
            "epoch",
            f"block {middle}, by epoch",
        ),
    )
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    for axis, (column, rows, label, title) in zip(axes, views, strict=True):
        for name, look in looks.items():
            line = rows[rows["arm"] == name].sort_values(column)
            style.band(axis, line[column], line[list(METRICS)], name, look, marker="o")
        axis.set(title=title, xlabel=label)
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("drift of the last subject token (1 − cosine)")
    style.legend_below(figure, axes[0])
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(pd.read_parquet(study / "results.parquet"))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
