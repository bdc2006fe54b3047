"""Intruder dimensions: singular directions of a tuned weight that the base has not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from transformers import PreTrainedConfig

from interfere.errors import InputError
from interfere.measures.spectra import Spectrum, spectrum
from interfere.measures.weight_delta import paired_parts

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Of the largest cosine, below which a direction counts as an intruder."""


@dataclass(frozen=True)
class Intruders:
    """The tuned weight's strongest singular directions against all of the base's."""

    cosines: Float64[np.ndarray, " examined"]
    """Largest absolute cosine of each direction to any base direction, strongest first; in
    [0, 1]; 1: the base has this very direction. NaN for what is no direction: one beyond the
    tuned weight's rank."""
    singular_values: Float64[np.ndarray, " examined"]
    """Of these directions, in the tuned weight."""

    def count(self, threshold: float) -> int:
        """How many lie below the threshold."""
        return int((self.cosines < threshold).sum())


def intruders(
    before: Float[np.ndarray, "out1 in1"] | Float[Tensor, "out1 in1"],
    after: Float[np.ndarray, "out2 in2"] | Float[Tensor, "out2 in2"],
    *,
    examined: int = 10,
    side: Literal["left", "right"] = "left",
) -> Intruders:
    """Compare the `examined` strongest singular directions of `after` with all of `before`.

    Blind to rotation of the input and of the output space (done to both), to scale of either, and
    to the signs of singular vectors. A base direction that training only mixed with its
    neighbours in the spectrum counts too: where singular values are nearly equal, small
    changes turn their vectors, so look at the weak directions with care (the paper examines
    the 10 strongest). For a matrix that is no longer square, the longer side's base
    directions don't span its space.

    Args:
        before: the base's weight [out, in].
        after: the tuned one's.
        examined: how many directions of `after`; at most min(out, in).
        side: left: of the space that is written to, as the paper has it; right: read from.

    Raises:
        InputError: shapes differ, too many directions, a weight that is 0, or a value that
            isn't finite.

    Source: Shuttleworth et al. 2024, arXiv 2410.21228, algorithm 1.
    """
    if tuple(before.shape) != tuple(after.shape):
        raise InputError(
            f"one weight has the shape {tuple(before.shape)} before and "
            f"{tuple(after.shape)} after"
        )
    if not 1 <= examined <= min(before.shape):
        raise InputError(
            f"examined must be from 1 to {min(before.shape)} for a weight "
            f"{tuple(before.shape)}, got {examined}"
        )
    base, tuned = spectrum(before, "before"), spectrum(after, "after")
    for name, found in {"before": base, "after": tuned}.items():
        if not found.norm:
            raise InputError(f"the weight {name} is 0: it has no singular directions")
    vectors = _directions(tuned, side)[:, :examined]
    own = _directions(base, side)[:, _real(base)]
    cosines = np.minimum(np.abs(own.T @ vectors).max(0), 1)
    return Intruders(
        np.where(_real(tuned)[:examined], cosines, np.nan),
        tuned.singular_values[:examined],
    )


def intruder_table(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    *,
    config: PreTrainedConfig | None = None,
    components: Sequence[str] = ("q", "k", "v", "qkv", "o", "gate", "up", "down"),
    thresholds: Iterable[float] = THRESHOLDS,
    examined: int = 10,
) -> pd.DataFrame:
    """Intruders of every matrix of two state dicts: a row a matrix and threshold.

    Columns: name, component, layer, threshold, intruders, examined (fewer where a matrix
    is smaller). Fused and transposed matrices as in `weight_delta.weight_deltas`. For a LoRA
    adapter, `after` is `lora.merged(before, adapter)`.

    Raises:
        InputError: as in `weight_deltas`.
    """
    rows = []
    for part, old, new in paired_parts(before, after, config):
        if part.component not in components or old.ndim != 2:
            continue
        found = intruders(old, new, examined=min(examined, *old.shape))
        rows += [
            {
                "name": part.name,
                "component": part.component,
                "layer": part.layer,
                "threshold": threshold,
                "intruders": found.count(threshold),
                "examined": len(found.cosines),
            }
            for threshold in thresholds
        ]
    if not rows:
        raise InputError(f"the weights hold no matrix of the components {list(components)}")
    return pd.DataFrame(rows).astype({"layer": "Int64"})


def _real(found: Spectrum) -> Bool[np.ndarray, " k"]:
    """Directions of the matrix; the others are what the decomposition fills up with."""
    values = found.singular_values
    return np.asarray(values > len(values) * np.finfo(np.float64).eps * values[0])


def _directions(found: Spectrum, side: str) -> Float64[np.ndarray, "d k"]:
    return found.left if side == "left" else found.right
