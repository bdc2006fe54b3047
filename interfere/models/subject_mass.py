"""How much attention each token pays to the subject, beside an unchanged forward pass."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from interfere.errors import InputError

NAME = "interfere_subject_mass"

See = Callable[[str, Tensor], None]


@dataclass(frozen=True)
class _Watched:
    names: Mapping[nn.Module, str]
    """Of the hook, by attention module."""
    subject: Bool[Tensor, "b t"]
    see: See


_WATCHED: ContextVar[_Watched] = ContextVar("watched")


@contextmanager
def watching_mass(
    network: PreTrainedModel,
    names: Mapping[nn.Module, str],
    subject: Bool[Tensor, "b t"],
    see: See,
) -> Iterator[None]:
    """While the block runs, `see` is shown the mass of each named attention module.

    The mass is the sum of a head's attention weights over the subject's tokens, in [0, 1],
    shaped [batch, tokens, heads]. What the network computes keeps its last bit: PyTorch's
    own attention (`sdpa`) runs as it would, and the weights are computed beside it.

    Args:
        network: with `sdpa` or `eager` attention.
        names: the hook's name by attention module.
        subject: True at the subject's tokens, in the rows that will run.
        see: called with the hook's name and the mass.

    Raises:
        InputError: an attention that shows no weights (flash attention).
    """
    implementation = network.config._attn_implementation
    if implementation == "eager":
        with _weights_given_back(names, subject, see):
            yield
        return
    if implementation != "sdpa":
        raise InputError(
            f"{next(iter(names.values()))}: attention by {implementation!r} shows no "
            "weights; call network.set_attn_implementation('sdpa') first"
        )
    token = _WATCHED.set(_Watched(names, subject, see))
    network.config._attn_implementation = NAME
    try:
        yield
    finally:
        network.config._attn_implementation = implementation
        _WATCHED.reset(token)


@contextmanager
def _weights_given_back(
    names: Mapping[nn.Module, str], subject: Bool[Tensor, "b t"], see: See
) -> Iterator[None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        see(names[module], _mass(output[1], subject))

    handles = [module.register_forward_hook(hook) for module in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attend(
    module: nn.Module,
    query: Float[Tensor, "b heads t d"],
    key: Float[Tensor, "b groups t d"],
    value: Float[Tensor, "b groups t e"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    watched = _WATCHED.get()
    if name := watched.names.get(module):
        weights = _weights(query, key, attention_mask, scaling)
        watched.see(name, _mass(weights, watched.subject))
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **options
    )


def _weights(
    query: Float[Tensor, "b heads t d"],
    key: Float[Tensor, "b groups t d"],
    mask: Tensor | None,
    scaling: float | None,
) -> Float[Tensor, "b heads t t"]:
    key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    # Scaled first: the product could leave float16's range.
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = query @ key.mT
    if mask is None:  # causal, and nothing else
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=key.device).tril()
    if mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    else:
        scores = scores + mask
    return scores.softmax(-1, dtype=torch.float32).to(query.dtype)


def _mass(
    weights: Float[Tensor, "b heads t t"], subject: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t heads"]:
    return (weights @ subject[:, None, :, None].to(weights.dtype))[..., 0].mT


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
