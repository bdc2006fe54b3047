"""One look for every figure: sizes, colours by arm, saving."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfere import cache

mpl.use("Agg")
mpl.rcParams.update(
    {
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.dpi": 150,
        "font.size": 9,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "pdf.fonttype": 42,
        "savefig.bbox": "tight",
    }
)

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#8C6D31",
)
"""Okabe and Ito's palette, safe for the colour-blind (jfly.uni-koeln.de/color)."""

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (6, 3)), "-")
"""Told apart in grey too."""

POSITIONS = {
    "subject_last": "last token of the subject",
    "prompt_last": "last token of the prompt",
    "answer_first": "first token of the answer",
}
"""Titles of panels, in the order of the question."""


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and line style of each arm, by its place in the study."""
    order = dict.fromkeys(names)
    return {
        name: {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)]}
        for i, name in enumerate(order)
    }


def band(
    axis: Axes,
    x: pd.Series,
    curve: pd.DataFrame,
    label: str,
    look: dict[str, Any],
    marker: str | None = None,
) -> None:
    """A line with its range: `curve` has the columns middle, low and high, in this order."""
    middle, low, high = (curve.iloc[:, i] for i in range(3))
    axis.plot(x, middle, label=label, marker=marker, markersize=3, **look)
    axis.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)


def panels_by_position(
    positions: Iterable[str], height: float
) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each of `POSITIONS` that is given, over blocks, with one y axis."""
    given = set(positions)
    shown = [position for position in POSITIONS if position in given]
    figure, axes = plt.subplots(
        1,
        len(shown),
        figsize=(3.4 * len(shown), height),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, position in zip(axes[0], shown, strict=True):
        axis.set(title=POSITIONS[position], xlabel="block")
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure, dict(zip(shown, axes[0], strict=True))


def legend_below(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """One legend for all panels, under them."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels))
    )


def save(figure: Figure, numbers: pd.DataFrame, stem: Path) -> None:
    """Write stem.pdf, stem.png and stem.csv (what is drawn), each whole; close the figure."""
    for kind in ("pdf", "png"):
        with cache.whole_file(stem.with_suffix(f".{kind}")) as draft:
            figure.savefig(draft, format=kind, metadata=_undated(kind))
    with cache.whole_file(stem.with_suffix(".csv")) as draft:
        numbers.to_csv(draft, index=False)
    plt.close(figure)


def _undated(kind: str) -> dict[str, None]:
    return {"CreationDate": None} if kind == "pdf" else {}
