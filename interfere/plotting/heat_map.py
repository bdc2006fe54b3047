"""A table as colours, and its numbers written into the cells."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

COLOURS = "cividis"
"""Even in lightness, so that grey tells as much; safe for the colour-blind."""


def heat_map(
    axis: Axes,
    values: Float[np.ndarray, "rows columns"],
    limits: tuple[float, float],
    *,
    origin: Literal["upper", "lower"] = "upper",
    aspect: Literal["equal", "auto"] = "equal",
) -> AxesImage:
    """Light is high; `limits` are the ends of the scale. NaN stays blank."""
    low, high = limits
    axis.grid(visible=False)
    return axis.imshow(
        values, cmap=COLOURS, vmin=low, vmax=high, origin=origin, aspect=aspect
    )


def write_cells(
    axis: Axes,
    values: Float[np.ndarray, "rows columns"],
    texts: Sequence[Sequence[str]],
    limits: tuple[float, float],
    *,
    size: float,
) -> None:
    """Write a text into each cell of a `heat_map`: black on light, white on dark and blank."""
    middle = sum(limits) / 2
    for (row, column), value in np.ndenumerate(values):
        axis.text(
            column,
            row,
            texts[row][column],
            ha="center",
            va="center",
            fontsize=size,
            color="black" if value > middle else "white",
        )
