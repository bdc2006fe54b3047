"""Linear CKA of many layers against many layers, at the cost of one Gram matrix each."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.cka import debiased
from interfere.measures.rows import Array
from interfere.measures.scaled_rows import ScaledRows, swapped

Layers: TypeAlias = Sequence[Array | Tensor] | Mapping[str, Array | Tensor]
"""One set of rows a layer; the keys, or else the places, name it in errors."""

TILE = 256
"""Facts a side of a Gram tile: all layers' tiles stay in the processor's cache."""
CHUNK = 4096
"""Facts whose products are summed in the layers' type before they are summed in float64."""
EXACT = 2048
"""Up to as many facts everything is float64: it takes seconds."""
EQUAL = 1e-12
"""Share of (Σ‖xᵢ‖²)² below which a U-centred Gram matrix's norm² is rounding."""


def all_pairs_cka(
    befores: Layers, afters: Layers, *, dtype: torch.dtype | None = None
) -> Float64[np.ndarray, "befores afters"]:
    """Debiased linear CKA of each layer before with each layer after, as `cka` defines it.

    Row i is fact i in every layer; layers may differ in dimensions. In [-1, 1], never
    clamped; NaN, with a warning, in the rows and columns of a constant layer.

    Where facts are many for the dimensions, ‖XᵀY‖² is taken pair by pair; else each
    layer's U-centred Gram matrix is made once, tile by tile of its upper half, and all
    pairs' inner products are one product of the tiles. For L layers of n facts and d
    dimensions a side that is about the lesser of L² n d² and L n² d multiplications.
    Memory: the layers as they are, some float64 copies of one of them, and a tile a layer.

    Args:
        befores: one set of rows a layer.
        afters: likewise.
        dtype: of the products, which are summed in float64. Without one, float64 up to
            2,048 facts and float32 (values within 1e-5, in practice 1e-7) above.

    Raises:
        InputError: no layers, layers of unlike facts, fewer than 4 facts, or a value that
            isn't finite.

    Source: arXiv 2010.15327, eq. 3.
    """
    facts = _facts(befores, afters)
    dtype = dtype or (torch.float64 if facts <= EXACT else torch.float32)
    before = [ScaledRows.of(x, f"before, {name}", dtype) for name, x in _named(befores)]
    after = [ScaledRows.of(x, f"after, {name}", dtype) for name, x in _named(afters)]
    cross, *own = (_by_features if _tall(before, after) else _by_tiles)(before, after)
    for norms, side in zip(own, (before, after), strict=True):
        constant = [layer.constant for layer in side]
        norms[(norms <= EQUAL * facts**2) | torch.tensor(constant)] = float("nan")
    found = cross / torch.sqrt(own[0][:, None] * own[1])
    if found.isnan().any():
        warnings.warn("CKA is NaN: a layer is constant", stacklevel=2)
    return found.numpy()


Products: TypeAlias = tuple[
    Float64[Tensor, "befores afters"],
    Float64[Tensor, " befores"],
    Float64[Tensor, " afters"],
]
"""Inner products of U-centred Gram matrices: across, and each layer's with itself."""


def _tall(befores: list[ScaledRows], afters: list[ScaledRows]) -> bool:
    """Whether products of features are fewer multiplications than halves of Gram matrices."""
    widths = [[layer.rows.shape[1] for layer in side] for side in (befores, afters)]
    own = sum(width**2 for side in widths for width in side)
    across = sum(widths[0]) * sum(widths[1])
    return len(befores[0].rows) * sum(map(sum, widths)) > 2 * (across + own)


def _by_tiles(befores: list[ScaledRows], afters: list[ScaledRows]) -> Products:
    layers, split, n = [*befores, *afters], len(befores), len(befores[0].rows)
    cross = torch.zeros(split, len(afters), dtype=torch.float64)
    own = torch.zeros(len(layers), dtype=torch.float64)
    space = torch.empty(len(layers), min(TILE, n) ** 2, dtype=befores[0].dtype)
    for top in range(0, n, TILE):
        down = min(top + TILE, n)
        lefts = [swapped(layer.factor(top, down)) for layer in layers]
        for start in range(top, n, TILE):
            stop = min(start + TILE, n)
            flat = space[:, : (down - top) * (stop - start)]
            tiles = flat.view(len(layers), down - top, stop - start)
            for tile, left, layer in zip(tiles, lefts, layers, strict=True):
                torch.mm(left, layer.factor(start, stop).T, out=tile)
                if start == top:
                    tile.fill_diagonal_(0)
            weight = 1 if start == top else 2  # the tile below the diagonal is its mirror
            cross += weight * (flat[:split] @ flat[split:].T)
            own += weight * flat.square().sum(1)
    return cross, own[:split], own[split:]


def _by_features(befores: list[ScaledRows], afters: list[ScaledRows]) -> Products:
    cross = torch.stack([torch.stack([_product(x, y) for y in afters]) for x in befores])
    own = [torch.stack([_product(x, x) for x in side]) for side in (befores, afters)]
    return cross, own[0], own[1]


def _product(x: ScaledRows, y: ScaledRows) -> Tensor:
    n = len(x.rows)
    outer = torch.zeros(x.rows.shape[1], y.rows.shape[1], dtype=torch.float64)
    for start in range(0, n, CHUNK):
        stop = min(start + CHUNK, n)
        outer += x.block(start, stop).T @ y.block(start, stop)
    totals = x.sums.sum() * y.sums.sum()
    return debiased(n, outer.square().sum(), x.squares @ y.squares, totals, x.sums @ y.sums)


def _named(layers: Layers) -> list[tuple[str, Array | Tensor]]:
    if isinstance(layers, Mapping):
        return list(layers.items())
    return [(f"layer {place}", x) for place, x in enumerate(layers)]


def _facts(befores: Layers, afters: Layers) -> int:
    lengths = [len(x) for side in (befores, afters) for _, x in _named(side)]
    if not (befores and afters) or min(lengths) != max(lengths) or min(lengths) < 4:
        raise InputError(
            "CKA needs the same 4 or more facts in one or more layers a side, got "
            f"{len(befores)} and {len(afters)} layers with {sorted(set(lengths))} rows"
        )
    return lengths[0]
