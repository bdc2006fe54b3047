"""What each arm learns and forgets, by epoch; bands: 95 % intervals over answers."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import typer
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.plotting import style
from interfere.study.accuracy_intervals import accuracy_intervals

PANELS = {
    "task": "Known, trained (task)",
    "plasticity": "Unknown, trained (plasticity)",
    "stability": "Known, held out (stability)",
}


def tabulate(facts: pd.DataFrame) -> pd.DataFrame:
    """`accuracy_intervals` of the panels."""
    table = accuracy_intervals(facts)
    if missing := PANELS.keys() - set(table["metric"]):
        raise InputError(f"facts.parquet lacks {sorted(missing)}; run the study again")
    return table[table["metric"].isin(PANELS.keys())].reset_index(drop=True)


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a metric, a line an arm; the third has an axis of its own."""
    looks = style.looks(numbers["arm"])
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        panel = numbers[numbers["metric"] == metric]
        for name, look in looks.items():
            line = panel[panel["arm"] == name].sort_values("epoch")
            style.band(axis, line["epoch"], line[["value", "low", "high"]], name, look)
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
    numbers = tabulate(pd.read_parquet(study / "facts.parquet"))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
