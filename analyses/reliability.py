"""Is the model right as often as it is sure? Held-out answers before and after training."""

from pathlib import Path

import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.measures.calibration import Calibration, calibration
from interfere.plotting import style
from interfere.plotting.panels import panels

BINS = 8
"""At most, of as many answers each."""

ERRORS = ("ece_debiased", "ece_low", "ece_high")


def tabulate(facts: pd.DataFrame) -> pd.DataFrame:
    """A row an arm, time and bin, intervals over answers.

    Bins pool seeds. The calibration error and its ends are means of the seeds' own: pooled,
    its bias would be taken for that of as many more facts.
    """
    if "confidence" not in facts or facts["confidence"].isna().all():
        raise InputError("the study holds no confidence of its answers; run it again")
    held = facts[(facts["set"] == "held_out") & facts["confidence"].notna()]
    tables = []
    for arm, rows in held.groupby("arm", sort=False):
        ends = {"before": rows["step"].min(), "after": rows["step"].max()}
        for when, step in ends.items():
            own = rows[rows["step"] == step]
            seeds = [_calibration(seed) for _, seed in own.groupby("seed")]
            errors = {
                name: np.mean([getattr(seed, name) for seed in seeds]) for name in ERRORS
            }
            bins = _calibration(own).bins
            tables.append(bins.assign(arm=arm, when=when, **errors))
    return pd.concat(tables, ignore_index=True)


def _calibration(facts: pd.DataFrame) -> Calibration:
    return calibration(
        facts["confidence"].to_numpy(float),
        facts["right"].to_numpy(bool),
        facts["answer"],
        bins=BINS,
        resamples=2000,
    )


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel an arm; on the dotted line a model is right as often as it is sure."""
    looks = style.looks(numbers["arm"])
    figure, axes = panels(len(looks), size=(2.5, 2.7), margin=(0.6, 0.7))
    for axis, (arm, look) in zip(axes.flat, looks.items(), strict=False):
        panel = numbers[numbers["arm"] == arm]
        axis.plot([0, 1], [0, 1], ":", color="0.5", linewidth=1)
        _curve(axis, panel[panel["when"] == "before"], "before", "0.45", "s", "--")
        _curve(axis, panel[panel["when"] == "after"], "after", look["color"], "o", "-")
        errors = panel.groupby("when")[list(ERRORS)].first()
        lines = [f"{when} {_error(errors.loc[when])}" for when in ("before", "after")]
        axis.text(
            0.98,
            0.03,
            "\n".join(["ECE", *lines]),
            transform=axis.transAxes,
            ha="right",
            fontsize=7,
        )
        axis.set_title(arm, fontsize=9)
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axis.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    for axis in axes.flat[len(looks) - axes.shape[1] : len(looks)]:
        axis.tick_params(labelbottom=True)  # nothing is drawn below it
    figure.supxlabel(
        "probability of the answer given; squares, dashed: before training, circles: after\n"
        "(bars, brackets: 95 % over answers; ECE: debiased)",
        fontsize=9,
    )
    figure.supylabel("share right", fontsize=9)
    return figure


def _error(row: pd.Series) -> str:
    value, low, high = (f"{row[name]:.3f}".replace("0.", ".", 1) for name in ERRORS)
    return f"{value} [{low}, {high}]"


def _curve(
    axis: Axes, bins: pd.DataFrame, label: str, colour: str, marker: str, line: str
) -> None:
    bins = bins.sort_values("confidence")
    axis.plot(
        bins["confidence"],
        bins["accuracy"],
        marker=marker,
        linestyle=line,
        color=colour,
        markersize=3.5,
        linewidth=1.2,
        label=label,
    )
    axis.vlines(
        bins["confidence"],
        np.clip(bins["accuracy_low"], 0, 1),
        np.clip(bins["accuracy_high"], 0, 1),
        color=colour,
        linewidth=0.9,
    )


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(pd.read_parquet(study / "facts.parquet"))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
