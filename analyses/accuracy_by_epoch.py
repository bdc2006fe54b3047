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
    if missing := {"plasticity", "stability"} - set(table["metric"]):
        raise InputError(f"facts.parquet lacks {sorted(missing)}; run the study again")
    return table[table["metric"].isin(PANELS.keys())].reset_index(drop=True)


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a metric that was asked, a line an arm; each has an axis of its own."""
    looks = style.looks(numbers["arm"])
    shown = [metric for metric in PANELS if metric in set(numbers["metric"])]
    figure, flat = plt.subplots(
        1, len(shown), figsize=(10 / 3 * len(shown), 3.6), layout="constrained"
    )
    axes = dict(zip(shown, flat, strict=True))
    for metric, axis in axes.items():
        panel = numbers[numbers["metric"] == metric]
        for name, look in looks.items():
            line = panel[panel["arm"] == name].sort_values("epoch")
            style.band(axis, line["epoch"], line[["value", "low", "high"]], name, look)
        axis.set(title=PANELS[metric], xlabel="epoch of Known + Unknown")
        # Plasticity needs the whole range; the others move within a few points.
        low = -0.02 if metric == "plasticity" else min(0.9, axis.get_ylim()[0])
        axis.set_ylim(low, 1.02 if metric == "plasticity" else 1.005)
    flat[0].set_ylabel("accuracy (exact match)")
    style.legend_below(figure, axes["stability"])
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(pd.read_parquet(study / "facts.parquet"))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
