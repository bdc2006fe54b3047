"""Which weight is what: the component and layer of each, fused matrices taken apart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedConfig

MODULES = {
    "*.q_proj": "q",
    "*.k_proj": "k",
    "*.v_proj": "v",
    "*.o_proj": "o",
    "*.attention.dense": "o",
    "*.attn.c_proj": "o",
    "*.qkv_proj": "qkv",
    "*.attn.c_attn": "qkv",
    "*.query_key_value": "qkv",
    "*.gate_proj": "gate",
    "*.up_proj": "up",
    "*.gate_up_proj": "gate_up",
    "*.mlp.c_fc": "up",
    "*.dense_h_to_4h": "up",
    "*.down_proj": "down",
    "*.mlp.c_proj": "down",
    "*.dense_4h_to_h": "down",
    "*embed_tokens": "embedding",
    "*embed_in": "embedding",
    "*.wte": "embedding",
    "*.wpe": "positions",
    "*lm_head": "head",
    "embed_out": "head",
    "*norm*": "norm",
    "*.ln_?": "norm",
}
"""Component by the module's dotted name; the first glob that fits counts."""

TRANSPOSED = ("*.c_attn", "*.c_proj", "*.c_fc")
"""GPT-2's Conv1D modules, whose weights are stored [in, out]."""


@dataclass(frozen=True)
class Part:
    """A weight, or the rows of a fused one that belong to one component."""

    parameter: str
    """Its name in the state dict."""
    component: str
    """q, k, v, o, gate, up, down, embedding, positions, head, norm, bias or other; qkv and
    gate_up where a fused matrix could not be taken apart."""
    layer: int | None
    """None outside the blocks."""
    transposed: bool
    """Stored [in, out]."""
    rows: Int[np.ndarray, " rows"] | None
    """Output dimensions, of the matrix as [out, in]; None: all."""

    @property
    def name(self) -> str:
        """The parameter, and the component where it is one of several there."""
        return (
            self.parameter if self.rows is None else f"{self.parameter}[{self.component}]"
        )

    def of(self, weight: Tensor) -> Tensor:
        """This part of the parameter, as [out, in]; a vector as it is."""
        upright = weight.T if self.transposed else weight
        return upright if self.rows is None else upright[self.rows]

    def put(self, weight: Tensor, value: Tensor) -> None:
        """Write `value` [out, in] where `of` would read it."""
        upright = weight.T if self.transposed else weight
        if self.rows is None:
            upright.copy_(value)
        else:
            upright[self.rows] = value.to(upright)


def is_transposed(name: str) -> bool:
    """Whether a parameter is stored [in, out]."""
    module, _, kind = name.rpartition(".")
    return kind == "weight" and any(fnmatchcase(module, glob) for glob in TRANSPOSED)


def upright_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """A parameter's stored shape as (out, in); a vector's as it is."""
    return tuple(shape[::-1]) if is_transposed(name) else tuple(shape)


def parts(name: str, out: int, config: PreTrainedConfig | None = None) -> list[Part]:
    """What the parameter `name` of a decoder holds.

    GPT-2's c_attn (q, k, v side by side) and Phi-3's gate_up_proj are taken apart always;
    Phi-3's qkv_proj and NeoX' query_key_value (q, k, v head by head) need the number of
    heads, so without a `config` they stay whole, as qkv.

    Args:
        name: in the state dict, such as model.layers.0.mlp.up_proj.weight.
        out: the output dimensions of the matrix; of a vector, its length.
        config: the network's.
    """
    module, _, kind = name.rpartition(".")
    layer = _layer(module)
    transposed = is_transposed(name)
    component = next(
        (c for glob, c in MODULES.items() if fnmatchcase(module, glob)), "other"
    )
    if kind != "weight":
        component = "norm" if component == "norm" else "bias" if kind == "bias" else "other"
        return [Part(name, component, layer, False, None)]
    pieces = _pieces(module, out, config)
    if not pieces:
        return [Part(name, component, layer, transposed, None)]
    return [Part(name, c, layer, transposed, rows) for c, rows in pieces.items()]


def _pieces(
    module: str, out: int, config: PreTrainedConfig | None
) -> dict[str, Int[np.ndarray, " rows"]]:
    """Rows of each component of a fused matrix; none if it isn't fused or can't be split."""
    rows = np.arange(out)
    if module.endswith(".c_attn"):
        return dict(zip("qkv", np.split(rows, 3), strict=True))
    if module.endswith(".gate_up_proj"):
        gate, up = np.split(rows, 2)
        return {"gate": gate, "up": up}
    if config is None:
        return {}
    heads = int(config.num_attention_heads)
    if module.endswith(".query_key_value"):  # [heads, (q, k, v), head size]
        by_head = rows.reshape(heads, 3, -1)
        return {c: by_head[:, place].reshape(-1) for place, c in enumerate("qkv")}
    if module.endswith(".qkv_proj"):
        few: Any = getattr(config, "num_key_value_heads", None) or heads
        size = out // (heads + 2 * int(few))
        ends = [heads * size, (heads + int(few)) * size]
        return dict(zip("qkv", np.split(rows, ends), strict=True))
    return {}


def _layer(module: str) -> int | None:
    found = re.search(r"\.(?:layers|h)\.(\d+)(?:\.|$)", f".{module}")
    return int(found[1]) if found else None
