"""What each arm learns and forgets, by epoch (mean and range of seeds)."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import typer
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.plotting import style

PANELS = {
    "task": "Known, trained (task)",
    "plasticity": "Unknown, trained (plasticity)",
    "stability": "Known, held out (stability)",
}


def tabulate(results: pd.DataFrame) -> pd.DataFrame:
    """Mean, smallest and largest of the seeds by arm, metric and epoch."""
    if missing := PANELS.keys() - set(results["metric"]):
        raise InputError(f"results lack {sorted(missing)}; run the study again")
    chosen = results[results["metric"].isin(PANELS.keys())]
    seeds = chosen.groupby(["arm", "metric", "epoch"], sort=False)["value"]
    return seeds.agg(["mean", "min", "max"]).reset_index()


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a metric, a line an arm; the third has an axis of its own."""
    looks = style.looks(numbers["arm"])
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        panel = numbers[numbers["metric"] == metric]
        for name, look in looks.items():
            line = panel[panel["arm"] == name].sort_values("epoch")
            style.band(axis, line["epoch"], line[["mean", "min", "max"]], name, look)
        axis.set(title=title, xlabel="epoch of Known + Unknown")
    # Plasticity needs the whole range; the others move within a few points.
    for axis in (axes[0], axes[2]):
        axis.set_ylim(min(0.9, axis.get_ylim()[0]), 1.005)
    axes[1].set_ylim(-0.02, 1.02)
    axes[0].set_ylabel("accuracy (exact match)")
    style.legend_below(figure, axes[2])
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(pd.read_parquet(study / "results.parquet"))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
