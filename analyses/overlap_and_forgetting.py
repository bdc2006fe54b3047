"""Does overlap with new facts predict which old facts are forgotten? And does anything else?

Left: what plain SFT took beyond the Known-only control from facts by their overlap, both
given the before-score; line: fitted, with its 95 % interval over answers; points: tenths
of the facts. Right: AUC of forgotten against kept by predictor, all known before training.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfere.errors import InputError
from interfere.measures.forgetting_table import ForgettingTable
from interfere.measures.loss_regression import adjustment
from interfere.measures.predict_forgetting import predict_forgetting
from interfere.measures.predictor_statistics import BEFORE
from interfere.measures.predictors import predictor, signs
from interfere.measures.statistics import mean_interval
from interfere.plotting import style
from interfere.study.headline import read
from interfere.study.predictors import forgetting_of, read_predictors
from interfere.study.study import plain_arm

DEEP = True
SHOWN = "overlap"
"""The predictor whose line is drawn, where the study has it."""
TENTHS = 10
STATISTICS = ("auc", "beyond_margin", "added", "standardised", "spearman")


def tabulate(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The panels `tenth` and `line`, and one a statistic with a row a predictor.

    Columns: panel, predictor, value, low, high, smallest, p_holm, x (of a tenth), facts,
    answers. The line's row holds its slope, in nats a standard deviation of the predictor.

    Args:
        table: as `predict_forgetting` takes it.
        columns: its predictors; the overlap is drawn, or the first where it isn't there.
    """
    shown = SHOWN if SHOWN in columns else columns[0]
    margin = "margin" if "margin" in columns else None
    found = predict_forgetting(table, signs(columns), margin=margin)
    rows = found.table[found.table["statistic"].isin((*STATISTICS, "nats"))]
    rows = rows.rename(columns={"statistic": "panel"})
    slope = rows[(rows["panel"] == "nats") & (rows["predictor"] == shown)]
    tenths = _tenths(ForgettingTable.of(table, signs(columns)), shown)
    numbers = pd.concat(
        [
            tenths.assign(panel="tenth", predictor=shown),
            slope.assign(panel="line"),
            rows[rows["panel"].isin(STATISTICS)],
        ],
        ignore_index=True,
    )
    kept = ["panel", "predictor", "value", "low", "high", "smallest", "p_holm", "x"]
    return numbers[kept].assign(facts=found.facts, answers=found.answers)


def _tenths(data: ForgettingTable, shown: str) -> pd.DataFrame:
    """Means, over tenths of the facts by predictor, of what the before-score leaves of both."""
    left = []
    for seed in range(data.seeds):
        basis = adjustment(data.before[seed])
        values = data.predictors[shown][seed]
        both = np.stack([values, data.control[seed] - data.after[seed]], axis=1)
        rest = both - basis @ (basis.T @ both)
        rest[:, 0] /= values.std() or np.nan
        left.append(rest.T)
    x, y = np.stack(left, axis=1)
    rows = []
    for group in np.array_split(np.argsort(x.mean(0), kind="stable"), TENTHS):
        found = mean_interval(y[:, group], data.answers[group], resamples=2000)
        place = float(x[:, group].mean())
        rows.append(
            {"x": place, "value": found.value, "low": found.low, "high": found.high}
        )
    return pd.DataFrame(rows)


def draw(numbers: pd.DataFrame) -> Figure:
    """The line and its tenths beside the areas."""
    predictors = int((numbers["panel"] == "auc").sum())
    height = max(3.6, 1.6 + 0.25 * predictors)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, height), width_ratios=(1, 0.9), layout="constrained"
    )
    _line(left, numbers)
    _areas(right, numbers)
    return figure


def _line(axis: Axes, numbers: pd.DataFrame) -> None:
    points = numbers[numbers["panel"] == "tenth"]
    line = numbers[numbers["panel"] == "line"].iloc[0]
    ends = np.array([points["x"].min(), points["x"].max()])
    x = np.linspace(*ends, 50)
    colour = style.COLOURS[0]
    axis.plot(x, line["value"] * x, color=colour)
    sides = np.stack([line["low"] * x, line["high"] * x])
    axis.fill_between(x, sides.min(0), sides.max(0), color=colour, alpha=0.2, linewidth=0)
    axis.vlines(points["x"], points["low"], points["high"], color="0.55", linewidth=1)
    axis.plot(points["x"], points["value"], "o", color="0.25", markersize=4)
    axis.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
    axis.set(
        xlabel=f"{predictor(str(line['predictor'])).label}\n(SD, given the before-score)",
        ylabel="lost beyond the control,\ngiven the before-score (nats)",
        title=f"{line['value']:.3f} [{line['low']:.3f}, {line['high']:.3f}] nats a SD",
    )


def _areas(axis: Axes, numbers: pd.DataFrame) -> None:
    areas = numbers[numbers["panel"] == "auc"].set_index("predictor")
    texts = {
        1.03: ("less the\nmargin's", "beyond_margin"),
        1.7: ("adds to margin\nand before-score", "added"),
    }
    known = [name for name in areas.index if name != BEFORE]
    for place, (name, row) in enumerate(areas.iterrows()):
        colour, marker = (style.COLOURS[0], "o") if name in known else ("0.35", "D")
        axis.plot([row["low"], row["high"]], [place, place], color=colour)
        axis.plot(row["value"], place, marker, color=colour, markersize=5)
    across = axis.get_yaxis_transform()
    for column, (title, panel) in texts.items():
        axis.text(column, 1.02, title, transform=axis.transAxes, fontsize=8)
        rows = numbers[numbers["panel"] == panel].set_index("predictor")
        for place, name in enumerate(areas.index):
            text = _signed(rows.loc[name]) if name in rows.index else "–"
            axis.text(column, place, text, transform=across, va="center", fontsize=8)
    if "margin" in areas.index:
        axis.axvline(areas.loc["margin", "value"], color=style.COLOURS[1], ls="--", lw=1)
    axis.axvline(0.5, color="0.5", linewidth=0.8, linestyle=":")
    labels = [
        predictor(name).label if name in known else "low score before"
        for name in areas.index
    ]
    axis.set(
        yticks=range(len(labels)),
        yticklabels=labels,
        xlabel="AUC, forgotten against kept\n(95 % interval; dashed: the margin's)",
    )
    axis.invert_yaxis()


def _signed(row: pd.Series) -> str:
    if np.isnan(row["value"]):
        return "–"
    return f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    configuration, _, facts = read(study)
    predictors = read_predictors(study)
    plain = plain_arm(configuration)
    if plain is None:
        raise InputError(f"study {study.name} has no plain SFT arm that learns new facts")
    table, columns = forgetting_of(configuration, facts, predictors, plain.name)
    numbers = tabulate(table, columns)
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
