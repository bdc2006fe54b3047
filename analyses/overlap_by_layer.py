"""Overlap of new facts with old ones before training: 0 as foreign as the control, 1 as kin.

Grey, where nothing is new: 95 % of the overlaps of old facts put in the place of the new
ones (about 1), and of the control put there (about 0).
"""

from pathlib import Path

import pandas as pd
import typer
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.models.layers import residual_layer
from interfere.plotting import style
from interfere.study.overlap_nulls import NULLS, overlap_nulls

METRICS = ("overlap", "overlap_low", "overlap_high")


def tabulate(results: pd.DataFrame) -> pd.DataFrame:
    """Mean over key seeds of the overlap and its interval, by keys, position and layer."""
    chosen = results[results["metric"].isin(METRICS) & results["value"].notna()]
    layers = chosen["hook"].map(residual_layer)
    chosen = chosen[layers.notna()].assign(layer=layers)
    if chosen.empty:
        raise InputError("results hold no overlap; the study needs split.control above 0")
    keys = ["keys", "position", "layer"]
    table = chosen.pivot_table(index=keys, columns="metric", values="value", sort=False)
    return table.reset_index().astype({"layer": int})


def tabulate_null(study: Path) -> pd.DataFrame:
    """`overlap_nulls`, which newer results hold."""
    file = study / "overlap_null.csv"
    return pd.read_csv(file) if file.is_file() else overlap_nulls(study)


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a position, a line a kind of new subjects; the nulls, if given, in grey."""
    looks = style.looks(numbers["keys"])
    figure, axes = style.panels_by_position(numbers["position"], 3.4)
    for position, axis in axes.items():
        panel = numbers[numbers["position"] == position].sort_values("layer")
        for keys, look in looks.items():
            line = panel[panel["keys"] == keys]
            style.band(axis, line["layer"], line[list(METRICS)], keys, look, marker="o")
        for (name, label), grey in zip(NULLS.items(), ("0.75", "0.6"), strict=True):
            if f"{name}_low" in panel:
                null = panel.drop_duplicates("layer")
                ends = null[f"{name}_low"], null[f"{name}_high"]
                axis.fill_between(
                    null["layer"], *ends, color=grey, alpha=0.5, linewidth=0, label=label
                )
        for level in (0, 1):
            axis.axhline(level, color="0.5", linewidth=0.8, linestyle=":")
    first = next(iter(axes.values()))
    first.set_ylabel("overlap with old facts")
    style.legend_below(figure, first, columns=3)
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(pd.read_parquet(study / "results.parquet"))
    null = tabulate_null(study)
    if not null.empty:
        numbers = numbers.merge(null, how="left", on=["position", "layer"])
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
