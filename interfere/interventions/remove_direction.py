"""Take the strongest directions out of what training did to the weights."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64

from interfere.errors import InputError
from interfere.measures.spectra import spectrum
from interfere.measures.weight_delta import paired_parts
from interfere.models.model import Model

MATRICES = ("q", "k", "v", "qkv", "o", "gate", "up", "gate_up", "down")
"""Components inside the blocks."""


@dataclass(frozen=True)
class Removal:
    """A tuned model without some of its change."""

    model: Model
    table: pd.DataFrame
    """A row a matrix: name, component, layer, delta (its Frobenius norm), removed (likewise
    of what was taken), left (of what stays of the delta)."""


def remove_directions(
    before: Model,
    after: Model,
    *,
    directions: int = 1,
    which: Literal["top", "random"] = "top",
    components: Collection[str] = MATRICES,
    seed: int = 0,
) -> Removal:
    """A copy of `after` less a rank-`directions` part of each weight matrix' delta.

    top: the part with the largest singular values, so `left`² = `delta`² - `removed`².
    random: its control, a matrix of the same singular values, so of equal norm, between
    uniformly random orthonormal directions. It is hardly aligned with the delta, so little of the
    delta goes: both are steps of one length, of which only the first undoes training.
    Ask the copy again to see what depended on it.

    Fused matrices are treated by component (q, k, v apart). Weights of other components,
    vectors, and matrices that training left alone stay as they are; so do both models.

    Args:
        before: where training began.
        after: where it ended.
        directions: how many singular directions of each matrix.
        which: top or random.
        components: as in `models.weight_parts.Part`; embedding and head may be named too.
        seed: of the random directions.

    Raises:
        InputError: models of unlike shapes, directions below 1, or no such matrix that
            training changed.

    Source: arXiv 2610.08718: the top singular direction of each weight delta, against a
    random removal of rank 1 and equal norm.
    """
    if directions < 1:
        raise InputError(f"directions must be at least 1, got {directions}")
    mended = after.copy(f"{after.name}, {which} {directions} removed")
    weights = mended.network.state_dict()
    generator = np.random.default_rng(seed)
    rows = []
    pairs = paired_parts(before.network.state_dict(), weights, after.network.config)
    for part, old, new in pairs:
        if part.component not in components or new.ndim != 2:
            continue
        delta = (new.double() - old.to(new.device).double()).cpu().numpy()
        found = spectrum(delta, part.name)
        if not found.norm:
            continue
        kept = min(directions, *delta.shape)
        left, right = found.left[:, :kept], found.right[:, :kept]
        if which == "random":
            left, right = (
                _orthonormal(len(side), kept, generator) for side in (left, right)
            )
        values = found.singular_values[:kept]
        taken = left * values @ right.T
        part.put(
            weights[part.parameter], new.double() - torch.from_numpy(taken).to(new.device)
        )
        rows.append(
            {
                "name": part.name,
                "component": part.component,
                "layer": part.layer,
                "delta": found.norm,
                "removed": float(np.linalg.norm(values)),
                "left": float(np.linalg.norm(delta - taken)),
            }
        )
    if not rows:
        raise InputError(
            f"training changed no matrix of the components {sorted(components)}; name others"
        )
    return Removal(mended, pd.DataFrame(rows).astype({"layer": "Int64"}))


def _orthonormal(
    size: int, count: int, generator: np.random.Generator
) -> Float64[np.ndarray, "size count"]:
    """Uniformly random orthonormal columns."""
    q, r = np.linalg.qr(generator.normal(size=(size, count)))
    found: Float64[np.ndarray, "size count"] = q * np.sign(np.diag(r))
    return found
