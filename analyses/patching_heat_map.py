"""Where putting back the old activation brings back the old answer: block by component.

1: the tuned model answers as the old one did; 0: putting it back does nothing. In brackets:
not shown to differ from 0 (p ≥ .05 by Holm over all places).
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from interfere.errors import InputError
from interfere.plotting import style
from interfere.plotting.heat_map import heat_map, write_cells

POSITIONS = {
    "subject_last": "subject,\nlast token",
    "subject": "subject,\nall tokens",
    "prompt_last": "prompt,\nlast token",
    "answer_first": "answer,\nfirst token",
    "all": "all tokens",
}
COMPONENTS = {
    "residual stream": "resid.",
    "attention": "attn.",
    "MLP": "MLP",
    "heads": "heads",
}

COLUMNS = ["arm", "layer", "component", "head", "position"]
NUMBERS = ["recovered", "recovered_low", "recovered_high", "p_holm", "facts", "seeds"]


def tabulate(patching: pd.DataFrame) -> pd.DataFrame:
    """The first arm's share of the lost log-probability that each place brings back."""
    if missing := {*COLUMNS, *NUMBERS} - set(patching.columns):
        raise InputError(f"patching.csv lacks {', '.join(sorted(missing))}; make it anew")
    chosen = patching[patching["arm"] == patching["arm"].iloc[0]]
    if chosen["recovered"].isna().all():
        raise InputError(
            "patching.csv holds no share brought back: the tuned model's answers are as "
            "probable as the old one's"
        )
    return chosen[[*COLUMNS, *NUMBERS]].reset_index(drop=True)


def draw(numbers: pd.DataFrame) -> Figure:
    """A panel a position, heads in panels of their own; blocks upwards."""
    single = numbers["head"].notna()
    panels = [
        (_title(position, heads), rows, heads)
        for heads in (False, True)
        for position in POSITIONS
        if len(rows := numbers[(numbers["position"] == position) & (single == heads)])
    ]
    maps = [_map(rows, heads) for _, rows, heads in panels]
    widths = [len(found["recovered"].columns) for found in maps]
    layers = len(maps[0]["recovered"])
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(1.5 + 0.5 * sum(widths) + 0.15 * len(panels), 1.6 + _height(layers)),
        sharey=True,
        squeeze=False,
        width_ratios=widths,
        layout="constrained",
    )
    limits = min(0.0, numbers["recovered"].min()), max(1.0, numbers["recovered"].max())
    for axis, (title, *_), found in zip(axes[0], panels, maps, strict=True):
        image = _panel(axis, found, limits)
        axis.set_title(title)
    axes[0][0].set_ylabel("block")
    figure.colorbar(image, ax=list(axes[0]), label="share brought back", pad=0.02)
    arm, facts, seeds = numbers[["arm", "facts", "seeds"]].iloc[0]
    several = "s" if seeds > 1 else ""
    figure.suptitle(f"{arm}: {facts:,} old facts, {seeds} seed{several}", fontsize=9)
    figure.supxlabel(
        "in brackets: p ≥ .05, by Holm over all places", fontsize=7, color="0.3"
    )
    return figure


def _title(position: str, heads: bool) -> str:
    words = POSITIONS[position]
    return f"{words.replace(chr(10), ' ')},\neach head" if heads else words


def _height(layers: int) -> float:
    return layers * (0.34 if layers <= 12 else 0.2)


def _map(rows: pd.DataFrame, heads: bool) -> dict[str, pd.DataFrame]:
    """Of each number: a row a block, a column a component or head."""
    across = rows["head"].astype(int) if heads else rows["component"]
    tables = {
        name: rows.assign(across=across).pivot_table(
            index="layer", columns="across", values=name, sort=False, dropna=False
        )
        for name in ("recovered", "p_holm")
    }
    order = sorted(set(across)) if heads else [c for c in COMPONENTS if c in set(across)]
    return {name: table.sort_index()[order] for name, table in tables.items()}


def _panel(
    axis: Axes, found: dict[str, pd.DataFrame], limits: tuple[float, float]
) -> AxesImage:
    values, p_holm = found["recovered"].to_numpy(), found["p_holm"].to_numpy()
    image = heat_map(axis, values, limits, origin="lower", aspect="auto")
    texts = [list(map(_text, *rows)) for rows in zip(values, p_holm, strict=True)]
    size = 7 if len(values) <= 12 else 5.5
    write_cells(axis, values, texts, limits, size=size)
    names = [COMPONENTS.get(name, name) for name in found["recovered"].columns]
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(values)), found["recovered"].index)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelsize=8)
    return image


def _text(value: float, p_holm: float) -> str:
    if np.isnan(value):
        return "–"
    text = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
    return text if p_holm < 0.05 else f"({text})"


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    table = study / "patching.csv"
    if not table.exists():
        raise InputError(f"{table} is not there: `interfere measure {study.name}` makes it")
    numbers = tabulate(pd.read_csv(table))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
