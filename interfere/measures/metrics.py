"""Ways to say how far two facts' activations are apart, for sets of different facts."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float64
from scipy.spatial.distance import cdist
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.rows import ROUNDING, as_rows

Metric = Literal["cosine", "euclidean", "standardised"]
"""cosine: 1 - cosine after the mean of both sets is taken off, in [0, 2], blind to one
rotation, scaling and shift of both. euclidean: blind to one rotation and shift, in units of
the activations. standardised: euclidean after every dimension is divided by its standard
deviation over both sets; blind to a scaling of each dimension, not to rotation."""

METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "standardised")


def place(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    metric: Metric,
    *,
    name: str = "activations",
    least: int = 1,
) -> tuple[Float64[np.ndarray, "n1 d"], Float64[np.ndarray, "n2 d"]]:
    """Both sets as rows between which plain Euclidean distance ranks as `metric` does.

    Raises:
        InputError: an unknown metric, dimensions that differ, fewer than `least` facts, a
            value that isn't finite, activations that are all equal, or, for cosine, a fact at
            the mean of all.
    """
    if metric not in METRICS:
        raise InputError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    x = as_rows(old, f"{name}, old", least=least)
    y = as_rows(new, f"{name}, new", least=least)
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"{name}: old facts have {x.shape[1]} dimensions and new ones {y.shape[1]}; "
            "use one hook of one model"
        )
    both = np.concatenate([x, y])
    raw = np.square(both).mean(0)
    both -= both.mean(0)
    if np.square(both).mean(0).sum() <= ROUNDING * raw.sum():
        raise InputError(
            f"{name}: all facts have equal activations, so none lies near or far; read "
            "another hook or position"
        )
    if metric == "euclidean":
        return x, y
    if metric == "standardised":
        variance = np.square(both).mean(0)
        varies = variance > ROUNDING * raw
        both = both[:, varies] / np.sqrt(variance[varies])
    else:
        lengths = np.linalg.norm(both, axis=1, keepdims=True)
        if (lengths**2 <= ROUNDING * raw.sum()).any():
            fact = int(np.argmin(lengths))
            side = f"old fact {fact}" if fact < len(x) else f"new fact {fact - len(x)}"
            raise InputError(
                f"{name}: {side} lies at the mean of all facts and has no direction; "
                "use the metric euclidean"
            )
        both /= lengths
    return both[: len(x)], both[len(x) :]


def distances(
    placed: tuple[Float64[np.ndarray, "n1 d"], Float64[np.ndarray, "n2 d"]], metric: Metric
) -> Float64[np.ndarray, "n1 n2"]:
    """Each old fact's distance to each new one, of rows that `place` gave."""
    kind = "sqeuclidean" if metric == "cosine" else "euclidean"
    found: Float64[np.ndarray, "n1 n2"] = cdist(*placed, kind)
    return found / 2 if metric == "cosine" else found
