"""Panels of one size in rows, as many as there are things to show."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

COLUMNS = 4
"""At most."""


def panels(
    count: int, *, size: tuple[float, float], margin: tuple[float, float]
) -> tuple[Figure, np.ndarray[Any, np.dtype[np.object_]]]:
    """A figure and its grid of axes, which share x and y; those after `count` are hidden.

    Args:
        count: panels that are wanted, at least 1.
        size: inches of a panel, across and up.
        margin: inches of the figure beside all panels.
    """
    across = min(COLUMNS, count)
    up = -(-count // across)
    figure, axes = plt.subplots(
        up,
        across,
        figsize=(size[0] * across + margin[0], size[1] * up + margin[1]),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes
