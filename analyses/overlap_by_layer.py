"""Overlap of new facts with old ones before training: 0 as foreign as the control, 1 as kin."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import typer
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.plotting import style

METRICS = ("overlap", "overlap_low", "overlap_high")
TITLES = {
    "subject_last": "last token of the subject",
    "prompt_last": "last token of the prompt",
    "answer_first": "first token of the answer",
}


def tabulate(results: pd.DataFrame) -> pd.DataFrame:
    """Mean over key seeds of the overlap and its interval, by keys, position and layer."""
    chosen = results[results["metric"].isin(METRICS) & results["value"].notna()]
    layers = chosen["hook"].str.extract(r"^blocks\.(\d+)\.hook_out$")[0]
    chosen = chosen[layers.notna()].assign(layer=layers.astype(float))
    if chosen.empty:
        raise InputError("results hold no overlap; the study needs split.control above 0")
    keys = ["keys", "position", "layer"]
    table = chosen.pivot_table(index=keys, columns="metric", values="value", sort=False)
    return table.reset_index().astype({"layer": int})


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a position, a line a kind of new subjects."""
    positions = [p for p in TITLES if p in set(numbers["position"])]
    looks = style.looks(numbers["keys"])
    figure, axes = plt.subplots(
        1,
        len(positions),
        figsize=(3.3 * len(positions), 3.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, position in zip(axes[0], positions, strict=True):
        panel = numbers[numbers["position"] == position].sort_values("layer")
        for keys, look in looks.items():
            line = panel[panel["keys"] == keys]
            style.band(axis, line["layer"], line[list(METRICS)], keys, look, marker="o")
        for level in (0, 1):
            axis.axhline(level, color="0.5", linewidth=0.8, linestyle=":")
        axis.set(title=TITLES[position], xlabel="block")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0][0].set_ylabel("overlap with old facts")
    style.legend_below(figure, axes[0][0])
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(pd.read_parquet(study / "results.parquet"))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
