"""One prefix before many prompts: run once, its keys and values lent to every row."""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from interfere.errors import InputError
from interfere.models.head import body


def run_prefix(network: PreTrainedModel, tokens: Sequence[int]) -> DynamicCache | None:
    """Keys and values of a prefix, a batch of one; None for an empty prefix."""
    if not tokens:
        return None
    device = next(network.parameters()).device
    # without a config every layer keeps all positions, a sliding window's layers too
    cache = DynamicCache()
    ids = torch.tensor([list(tokens)], device=device)
    inner = body(network)
    inner(input_ids=ids, use_cache=True, **lend(inner, cache))
    return cache


def lend(inner: PreTrainedModel, cache: DynamicCache) -> dict[str, DynamicCache]:
    """The keyword argument for a cache, which transformers renamed in 5.2x."""
    new = "cache" in inspect.signature(inner.forward).parameters
    return {"cache" if new else "past_key_values": cache}


def expand(cache: DynamicCache | None, rows: int) -> DynamicCache:
    """The prefix before `rows` rows; keys and values stay one copy until a layer grows."""
    return _map(cache, lambda tensor: tensor.expand(rows, -1, -1, -1))


def gather(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    """A new cache whose row i is row rows[i] of the old one."""
    return _map(cache, lambda tensor: tensor.index_select(0, rows))


def _map(cache: DynamicCache | None, change: Callable[[Tensor], Tensor]) -> DynamicCache:
    twin = DynamicCache()
    for layer in cache.layers if cache is not None else []:
        if not isinstance(layer, DynamicLayer):
            raise InputError(f"a cache of {type(layer).__name__} can't be lent to a batch")
        new = copy.copy(layer)
        new.keys, new.values = (
            change(cast(Tensor, layer.keys)),
            change(cast(Tensor, layer.values)),
        )
        twin.layers.append(new)
    return twin
