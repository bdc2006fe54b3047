"""Attention to one prefix that stands before all rows, without a copy of it for each."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    DynamicCache,
    PreTrainedModel,
)
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import sdpa_mask

from interfere.models.alone import alone
from interfere.models.head import body
from interfere.models.shared_prefix import expand, lend, run_prefix

NAME = "interfere_prefix"
VECTOR = 16
"""Numbers that PyTorch's softmax takes at once: over fewer it is ten times slower."""

_PREFIX: ContextVar[DynamicCache] = ContextVar("prefix")
_ABLE: weakref.WeakKeyDictionary[PreTrainedModel, bool] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Prefix:
    """Tokens that every row begins with, run once."""

    network: PreTrainedModel
    length: int
    cache: DynamicCache | None
    apart: bool
    """Attention finds the prefix by itself; else each batch's cache begins with it."""

    @property
    def cached(self) -> int:
        """Positions of the prefix in a batch's own cache."""
        return 0 if self.apart else self.length

    def before(self, rows: int) -> DynamicCache:
        """A cache for a batch of so many rows."""
        return DynamicCache() if self.apart else expand(self.cache, rows)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Inside, rows run through the network stand after the prefix."""
        if self.apart and self.cache is not None:
            with _attending(self.network, self.cache):
                yield
        else:
            yield


def prefix_of(network: PreTrainedModel, tokens: Sequence[int], longest: int) -> Prefix:
    """Run a prefix once.

    It stays apart where the network's attention is PyTorch's (`sdpa`), a small trial agrees,
    and no attention window ends within prefix and longest row.

    Args:
        network: in evaluation mode, gradients off.
        tokens: of the prefix; may be none.
        longest: tokens of the longest row that will follow.
    """
    with alone(network):
        cache = run_prefix(network, tokens)
    window = getattr(network.config, "sliding_window", None)
    fits = window is None or len(tokens) + longest < window
    apart = cache is not None and fits and _able(network)
    return Prefix(network, len(tokens), cache, apart)


def attend(
    module: nn.Module,
    query: Float[Tensor, "b heads t d"],
    key: Float[Tensor, "b groups s d"],
    value: Float[Tensor, "b groups s e"],
    attention_mask: Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Float[Tensor, "b t heads e"], None]:
    """Softmax over the prefix's keys and the row's own; the mask is for the row's own."""
    layer = cast(DynamicLayer, _PREFIX.get().layers[cast(int, module.layer_idx)])
    first_key, first_value = cast(Tensor, layer.keys)[0], cast(Tensor, layer.values)[0]
    (rows, heads, steps, width), groups = query.shape, key.shape[1]
    query = query * (width**-0.5 if scaling is None else scaling)
    query = query.reshape(rows, groups, -1, width)  # heads of a group in one matrix
    # the prefix meets all rows' queries in one product
    together = query.transpose(0, 1).reshape(groups, -1, width)
    first = (
        (together @ first_key.mT).view(groups, rows, -1, first_key.shape[1]).transpose(0, 1)
    )
    own = (query @ key.mT).view(rows, groups, -1, steps, key.shape[2])
    own = own.masked_fill(~attention_mask[:, :, None], -torch.inf).flatten(2, 3)
    if (short := VECTOR - first.shape[3] - own.shape[3]) > 0:
        own = nn.functional.pad(own, (0, short), value=-torch.inf)
    weights = torch.cat([first, own], -1).softmax(-1, dtype=torch.float32).to(query.dtype)
    seen = (
        weights[..., : first_key.shape[1]]
        .transpose(0, 1)
        .reshape(groups, -1, first_key.shape[1])
    )
    far = (seen @ first_value).view(groups, rows, -1, value.shape[3]).transpose(0, 1)
    near = weights[..., first_key.shape[1] :][..., : key.shape[2]] @ value
    mixed = (far + near).reshape(rows, heads, steps, value.shape[3])
    return mixed.transpose(1, 2).contiguous(), None


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    return sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False})


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _mask)


@contextmanager
def _attending(network: PreTrainedModel, cache: DynamicCache) -> Iterator[None]:
    with alone(network):
        before = network.config._attn_implementation
        network.config._attn_implementation = NAME
        token = _PREFIX.set(cache)
        try:
            yield
        finally:
            _PREFIX.reset(token)
            network.config._attn_implementation = before


def _able(network: PreTrainedModel) -> bool:
    with alone(network):
        if network.config._attn_implementation != "sdpa":
            return False
        if network not in _ABLE:
            _ABLE[network] = _agrees(network)
        return _ABLE[network]


def _agrees(network: PreTrainedModel) -> bool:
    """Whether a row after a prefix comes out as it does in one piece."""
    device = next(network.parameters()).device
    tokens = torch.arange(1, 9, device=device)[None]
    inner, cache = body(network), run_prefix(network, tokens[0, :4].tolist())
    if cache is None:
        return False
    whole = inner(input_ids=tokens, use_cache=False).last_hidden_state[:, 4:]
    try:
        with _attending(network, cache):
            parts = [
                inner(
                    input_ids=tokens[:, 4:],
                    attention_mask=torch.ones_like(tokens[:, 4:]),
                    position_ids=torch.arange(4, 8, device=device)[None],
                    **own,
                ).last_hidden_state
                for own in (
                    {"use_cache": True} | lend(inner, DynamicCache()),
                    {"use_cache": False},
                )
            ]
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return False  # an attention that this interface does not fit
    return all(
        torch.allclose(
            part.float(), whole.float(), rtol=1e-2, atol=1e-2 * whole.std().item()
        )
        for part in parts
    )
