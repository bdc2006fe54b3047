"""How far each weight matrix moved in training, and in how many directions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64
from torch import Tensor
from transformers import PreTrainedConfig

from interfere.errors import InputError
from interfere.measures.lora import adapted
from interfere.measures.rows import ROUNDING
from interfere.measures.spectra import LowRank, spectrum
from interfere.models.weight_parts import Part, parts, upright_shape

Weights = Mapping[str, Tensor]
"""A state dict, as `network.state_dict()` or safetensors' `load_file` gives it."""


@dataclass(frozen=True)
class WeightDelta:
    """after - before of one weight matrix, or of one component of a fused one."""

    name: str
    component: str
    """As in `models.weight_parts.Part`."""
    layer: int | None
    shape: tuple[int, ...]
    """(out, in), or (length,) of a vector: a norm's weight, a bias."""
    norm: float
    """Frobenius; 0 where nothing was trained."""
    relative: float
    """norm / the same of before; NaN where before is zero or not known."""
    effective_rank: float
    """NaN for vectors and where the norm is 0; see `spectra.Spectrum`."""
    stable_rank: float
    """Likewise."""
    singular_values: Float64[np.ndarray, " k"]
    """All of them, falling; none for a vector."""
    left: Float64[np.ndarray, "out directions"]
    """Top singular directions in the space that the matrix writes to."""
    right: Float64[np.ndarray, "in directions"]
    """Top singular directions in the space that it reads from."""


def weight_deltas(
    before: Weights,
    after: Weights,
    *,
    config: PreTrainedConfig | None = None,
    directions: int = 1,
) -> list[WeightDelta]:
    """The change of every weight, in float64, one matrix in memory at a time.

    GPT-2's Conv1D matrices are turned round to [out, in]. Fused matrices are measured by
    component: c_attn and gate_up_proj always, qkv_proj and query_key_value only with a
    `config`, else whole as qkv. A head that shares its tensor with the embeddings is left
    out. Norms and singular values are blind to a rotation of a matrix' input or output
    space (done to both sides); the ranks are blind to the delta's scale too.

    Args:
        before: weights of the starting point.
        after: the same weights after training.
        config: the network's, to take fused matrices apart.
        directions: how many singular directions to keep of each matrix.

    Raises:
        InputError: a weight that one side lacks or has in another shape, or a value that
            isn't finite.
    """
    return [
        _measure(part, old, new.double() - old.double(), directions)
        for part, old, new in paired_parts(before, after, config)
    ]


def adapter_deltas(
    adapter: Mapping[str, LowRank],
    before: Weights | None = None,
    *,
    config: PreTrainedConfig | None = None,
    directions: int = 1,
) -> list[WeightDelta]:
    """The same of a LoRA adapter (`lora.read_adapter`), whose deltas are never formed.

    Only adapted weights are listed. A fused matrix is taken apart by the rows of B.

    Args:
        adapter: delta [out, in] by the name of the weight that it is added to.
        before: weights that it is added to; without them `relative` is NaN.
        config: as in `weight_deltas`.
        directions: as in `weight_deltas`.

    Raises:
        InputError: a weight that `before` lacks or has in another shape, or a value that
            isn't finite.
    """
    found = []
    for name, delta in adapter.items():
        for part in parts(name, delta.shape[0], config):
            base = None
            if before is not None:
                base = part.of(adapted(before, name, delta))
            rows = (
                delta if part.rows is None else LowRank(delta.left[part.rows], delta.right)
            )
            found.append(_measure(part, base, rows, directions))
    return found


def delta_table(deltas: Iterable[WeightDelta]) -> pd.DataFrame:
    """A row a matrix.

    Columns: name, component, layer (<NA> outside the blocks), shape, norm, relative,
    effective_rank, stable_rank, top_share (of the squared norm, the first direction's).
    """
    rows = [
        {
            "name": delta.name,
            "component": delta.component,
            "layer": delta.layer,
            "shape": "x".join(map(str, delta.shape)),
            "norm": delta.norm,
            "relative": delta.relative,
            "effective_rank": delta.effective_rank,
            "stable_rank": delta.stable_rank,
            "top_share": 1 / delta.stable_rank,
        }
        for delta in deltas
    ]
    return pd.DataFrame(rows).astype({"layer": "Int64"})


def paired_parts(
    before: Weights, after: Weights, config: PreTrainedConfig | None = None
) -> Iterator[tuple[Part, Tensor, Tensor]]:
    """Each part with its weights before and after, as [out, in] in their own dtype.

    Raises:
        InputError: as in `weight_deltas`.
    """
    first, second = _untied(before, after)
    if missing := sorted(set(first) ^ set(second)):
        side = "after" if missing[0] in first else "before"
        raise InputError(
            f"the weights {side} lack {missing[0]}; compare two states of one network"
        )
    for name, old in first.items():
        new = second[name]
        if old.shape != new.shape:
            raise InputError(
                f"{name} has the shape {tuple(old.shape)} before and {tuple(new.shape)} after"
            )
        for part in parts(name, upright_shape(name, old.shape)[0], config):
            yield part, part.of(old), part.of(new)


def _measure(
    part: Part, base: Tensor | None, change: Tensor | LowRank, directions: int
) -> WeightDelta:
    size = float("nan") if base is None else float(base.double().norm())
    shape = tuple(change.shape)
    if isinstance(change, Tensor) and change.ndim < 2:
        if not change.isfinite().all():
            raise InputError(f"{part.name}: a weight is NaN or infinite")
        found = None
        norm = float(change.norm())
    else:
        found = spectrum(change, part.name)
        norm = found.norm
    values = np.empty(0) if found is None else found.singular_values
    kept = min(directions, int((values > ROUNDING * values.max(initial=0)).sum()))
    return WeightDelta(
        name=part.name,
        component=part.component,
        layer=part.layer,
        shape=shape,
        norm=norm,
        relative=norm / size if size else float("nan"),
        effective_rank=found.effective_rank if found else float("nan"),
        stable_rank=found.stable_rank if found else float("nan"),
        singular_values=values,
        left=found.left[:, :kept].copy() if found else np.empty((shape[0], 0)),
        right=found.right[:, :kept].copy() if found else np.empty((0, 0)),
    )


def _untied(*states: Weights) -> list[dict[str, Tensor]]:
    """Without a name whose tensor another name holds too.

    Tied in one state is enough if the other has equal tensors there, or left the second
    out, as files and copies do.
    """
    twins: dict[str, str] = {}
    for state in states:
        places: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
        for name, value in state.items():
            place = (value.data_ptr(), value.shape, value.stride())
            if places.setdefault(place, name) != name and value.numel():
                twins[name] = places[place]
    for name, first in list(twins.items()):
        held = [state for state in states if name in state and first in state]
        if not all(torch.equal(state[name], state[first]) for state in held):
            del twins[name]
    return [{n: v for n, v in state.items() if n not in twins} for state in states]
