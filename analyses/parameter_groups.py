"""The paper's Table 1: accuracies at the end by the group of parameters that was trained."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.plotting import style
from interfere.study.accuracy_intervals import accuracy_intervals

METRICS = {
    "task": "Known, trained",
    "plasticity": "Unknown, trained",
    "stability": "held out",
}

PAPER = {
    "attention only": (0.946, 0.010, 0.931),
    "FFN only": (0.997, 0.941, 0.782),
    "all parameters": (0.990, 0.946, 0.780),
    "all parameters, Known only": (0.999, np.nan, 0.958),
}
"""Qwen2.5-1.5B, end of training; arXiv 2604.15574, Table 1."""

GROUPS = {
    ("attention-only", "natural"): "attention only",
    ("ffn-only", "natural"): "FFN only",
    ("none", "natural"): "all parameters",
    ("none", "none"): "all parameters, Known only",
}
"""The study's mitigation and keys, by the paper's row."""


def tabulate(results: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Each accuracy with its interval by row of the table, beside the paper's.

    Of several arms in one group the first is taken.
    """
    ends = accuracy_intervals(facts, at_end=True).set_index(["arm", "metric"])
    rows = []
    for (mitigation, keys), group in GROUPS.items():
        own = results[(results["mitigation"] == mitigation) & (results["keys"] == keys)]
        if own.empty:
            continue
        found = ends.loc[own["arm"].iloc[0]].reindex(METRICS)
        table = found[["value", "low", "high"]].assign(group=group, paper=PAPER[group])
        rows += table.assign(metric=list(METRICS.values())).to_dict("records")
    if not rows:
        raise InputError("results hold no arm of the paper's Table 1")
    return pd.DataFrame(rows)


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a metric: bars are this study's, diamonds the paper's."""
    groups = list(dict.fromkeys(numbers["group"]))
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True, layout="constrained")
    for axis, metric in zip(axes, METRICS.values(), strict=True):
        panel = numbers[numbers["metric"] == metric].set_index("group").reindex(groups)
        places = np.arange(len(groups))
        spread = np.vstack([panel["value"] - panel["low"], panel["high"] - panel["value"]])
        axis.barh(places, panel["value"].fillna(0), color=style.COLOURS[5], height=0.6)
        axis.errorbar(
            panel["value"],
            places,
            xerr=spread.clip(min=0),
            fmt="none",
            ecolor="0.2",
            capsize=3,
        )
        axis.scatter(
            panel["paper"], places, marker="D", s=26, color=style.COLOURS[1], zorder=3
        )
        for place, value in zip(places, panel["value"], strict=True):
            text = "–" if np.isnan(value) else f"{value:.3f}"
            axis.text(0.05, place, text, va="center", fontsize=8)
        axis.set(title=metric, xlim=(0, 1.03), yticks=places, yticklabels=groups)
    axes[0].invert_yaxis()
    figure.supxlabel(
        "accuracy at the end; line: 95 % interval; ◆ paper, Qwen2.5-1.5B", fontsize=9
    )
    return figure


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    tables = (pd.read_parquet(study / f"{name}.parquet") for name in ("results", "facts"))
    numbers = tabulate(*tables)
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
