"""A causal language model in two halves: its body, and the unembedding of positions."""

import weakref
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.evaluating import evaluating

CHANGES = ("logit_scale", "logits_scaling", "final_logit_softcapping")
"""Of a configuration: what some architectures do to their logits."""

_CHECKED: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()


def body(network: PreTrainedModel) -> PreTrainedModel:
    """The network without its unembedding; gives `last_hidden_state`, final norm included.

    Raises:
        InputError: body and `unembed` together do not give the network's own logits, or
            these aren't finite.
    """
    inner = cast(PreTrainedModel, network.base_model)
    if network not in _CHECKED:
        _check(network, inner)
        _CHECKED.add(network)
    return inner


def unembed(
    network: PreTrainedModel, hidden: Float[Tensor, "... d"]
) -> Float[Tensor, "... v"]:
    """Logits of last hidden states, scaled or capped as the architecture has it."""
    logits = cast(nn.Module, network.get_output_embeddings())(hidden)  # type: ignore[no-untyped-call]
    assert isinstance(logits, Tensor)
    config = network.config
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
        logits = torch.tanh(logits / cap) * cap
    return cast(Tensor, logits)


def plain_weight(network: PreTrainedModel) -> Float[nn.Parameter, "v d"] | None:
    """The unembedding's weight, if logits are hidden states times it; None if they are more.

    More are: a bias, scaled or capped logits, adapters, hooks, weights that are sharded.
    """
    head = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    config = network.config
    if type(head) is not nn.Linear or type(head.weight) is not nn.Parameter:
        return None
    kinds = ("forward", "forward_pre", "backward", "backward_pre")
    hooked = "forward" in vars(head) or any(getattr(head, f"_{k}_hooks") for k in kinds)
    changed = any(getattr(config, name, None) for name in CHANGES)
    return None if hooked or changed or head.bias is not None else head.weight


def _check(network: PreTrainedModel, inner: PreTrainedModel) -> None:
    device = next(network.parameters()).device
    tokens = torch.arange(1, 5, device=device)[None]
    with evaluating(network), torch.no_grad():
        expected = network(input_ids=tokens, use_cache=False).logits[0].float()
        hidden = inner(input_ids=tokens, use_cache=False).last_hidden_state[0]
        found = unembed(network, hidden).float()
    if not expected.isfinite().all():
        raise InputError(
            f"{type(network).__name__} gives NaN or infinite logits; its weights are damaged"
        )
    if not torch.allclose(found, expected, rtol=1e-2, atol=1e-2 * expected.std().item()):
        raise InputError(
            f"{type(network).__name__} does more to its logits than scale or cap them; "
            "interfere cannot score answers with it"
        )
