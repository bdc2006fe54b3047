"""Which layers after training arrange the held-out facts as which layers did before: CKA.

Row: a block at the format checkpoint; column: a block at the arm's end. The first panel is the
checkpoint beside itself: how alike its layers were before anything moved.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfere.activations.recording import Recording, open_recording
from interfere.errors import InputError
from interfere.measures.all_pairs_cka import all_pairs_cka
from interfere.measures.jackknife import jackknife
from interfere.models.layers import layer, residual_layer
from interfere.plotting import style
from interfere.plotting.heat_map import heat_map, write_cells
from interfere.plotting.panels import panels
from interfere.study.results_folder import recordings

DEEP = True
POSITION = "subject_last"
ITSELF = "before, itself"
WRITTEN = 8
"""Blocks up to which each cell's number is written into it."""


def tabulate(study: Path) -> pd.DataFrame:
    """arm, layer (before), other_layer (after), cka, low, high, seeds_low, seeds_high.

    Debiased linear CKA of the residual stream, mean over seeds; low and high: 95 % interval by
    delete-group jackknife over answers; then the range of the seeds.
    """
    index = recordings(study)
    index = index[index["set"] == "held_out"]
    start = index[index["when"] == "before"]
    if start.empty:
        raise InputError(f"{study} has no recording of held-out facts before training")
    before = open_recording(start["path"].iloc[0])
    blocks = _blocks(before)
    rows, answers = _rows(before, blocks), before.table["answer"]
    tables = [_compared(ITSELF, rows, [rows], answers)]
    ends = index[index["when"] == "after"]
    for arm, paths in ends.groupby("arm", sort=False)["path"]:
        after = [_rows(open_recording(path), blocks) for path in paths]
        tables.append(_compared(str(arm), rows, after, answers))
    return pd.concat(tables, ignore_index=True)


def _blocks(recording: Recording) -> list[str]:
    chosen = [hook for hook in recording.hooks if residual_layer(hook) is not None]
    if not chosen or POSITION not in recording.positions:
        raise InputError(
            f"{recording.path} holds no residual stream at {POSITION}; add blocks.*.hook_out "
            f"and {POSITION} to the study's record section"
        )
    return chosen


def _rows(recording: Recording, hooks: list[str]) -> dict[str, np.ndarray]:
    return {hook: recording[hook, POSITION].numpy() for hook in hooks}


def _compared(
    arm: str,
    before: dict[str, np.ndarray],
    after: list[dict[str, np.ndarray]],
    answers: pd.Series,
) -> pd.DataFrame:
    def of_seeds(kept: np.ndarray) -> np.ndarray:
        old = {hook: x[kept] for hook, x in before.items()}
        new = ({hook: x[kept] for hook, x in seed.items()} for seed in after)
        return np.stack([all_pairs_cka(old, seed) for seed in new])

    found = jackknife(lambda kept: of_seeds(kept).mean(0), answers)
    seeds = of_seeds(np.arange(len(answers)))
    layers = [layer(hook) for hook in before]
    pairs = pd.MultiIndex.from_product([layers, layers], names=["layer", "other_layer"])
    columns = {
        "cka": found.value,
        "low": np.maximum(found.low, -1),
        "high": np.minimum(found.high, 1),
        "seeds_low": seeds.min(0),
        "seeds_high": seeds.max(0),
    }
    flat = {name: values.ravel() for name, values in columns.items()}
    return pd.DataFrame({"arm": arm, **flat}, index=pairs).reset_index()


def draw(numbers: pd.DataFrame) -> Figure:
    """A heat map an arm, all in one scale."""
    arms = list(dict.fromkeys(numbers["arm"]))
    figure, axes = panels(len(arms), size=(2.3, 2.4), margin=(0.8, 0.3))
    limits = min(float(np.floor(numbers["cka"].min() * 10) / 10), 0.9), 1.0
    for axis, arm in zip(axes.flat, arms, strict=False):
        panel = numbers[numbers["arm"] == arm]
        grid = panel.pivot_table(index="layer", columns="other_layer", values="cka")
        image = heat_map(axis, grid.to_numpy(), limits, origin="lower")
        axis.set_title(arm, fontsize=9)
        _label(axis, grid, limits)
    figure.supxlabel("block after training", fontsize=9)
    figure.supylabel("block before", fontsize=9)
    figure.colorbar(image, ax=axes, label="CKA (linear, debiased)", shrink=0.8)
    return figure


def _label(axis: Axes, grid: pd.DataFrame, limits: tuple[float, float]) -> None:
    layers = list(grid.index)
    every = range(0, len(layers), max(1, len(layers) // 6))
    for side in (axis.xaxis, axis.yaxis):
        side.set_ticks(list(every), [str(layers[i]) for i in every])
    if len(layers) <= WRITTEN:
        texts = grid.map("{:.2f}".format).to_numpy().tolist()
        write_cells(axis, grid.to_numpy(), texts, limits, size=7)


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    numbers = tabulate(study)
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
