"""Each example's own gradient, as the factors that it is made of, while they go by.

A linear layer's gradient for one example is a sum over its tokens of (gradient at the
output) times (input). Backpropagating a batch passes by all of these factors, so no
gradient of an example needs to be held: whoever watches takes what is needed of each.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from interfere.errors import InputError
from interfere.models.evaluating import evaluating
from interfere.models.head import body, unembed


@dataclass(frozen=True)
class Outer:
    """Example i's gradient is Σₜ rows[i, t] ⊗ columns[i, t]."""

    rows: Float[Tensor, "examples tokens r"]
    columns: Float[Tensor, "examples tokens c"]


@dataclass(frozen=True)
class Lookup:
    """As `Outer`, where rows[i, t] is 1 at `chosen[i, t]` and 0 elsewhere."""

    chosen: Int[Tensor, "examples tokens"]
    columns: Float[Tensor, "examples tokens c"]


@dataclass(frozen=True)
class Whole:
    """Example i's gradient is values[i]: for norms and biases, which are small."""

    values: Float[Tensor, "examples *shape"]


Factors: TypeAlias = Outer | Lookup | Whole
Receive = Callable[[str, Factors], None]
"""Gets a parameter's name and factors; twice where the parameter is used twice (tied)."""


def in_full(factors: Factors, shape: torch.Size) -> Float[Tensor, "examples *shape"]:
    """The gradients that the factors are of: for few examples, or for some columns."""
    if isinstance(factors, Whole):
        return factors.values
    if isinstance(factors, Outer):
        return factors.rows.transpose(1, 2) @ factors.columns
    examples = torch.arange(len(factors.chosen), device=factors.chosen.device)[:, None]
    found = factors.columns.new_zeros(len(examples), *shape)
    return found.index_put_((examples, factors.chosen), factors.columns, accumulate=True)


def answer_losses(
    network: PreTrainedModel,
    ids: Int[Tensor, "examples tokens"],
    answer: Bool[Tensor, "examples tokens"],
) -> Float[Tensor, " examples"]:
    """Each row's loss in training: cross-entropy (nats) summed over its answer's tokens.

    So minus the answer's log-probability, end included. In a training step over N answer
    tokens an example's share of the loss is this over N. In evaluation mode, without
    dropout; rows are padded on the right.

    Args:
        network: a causal language model.
        ids: prompts and answers.
        answer: which tokens are the answer's (and its end).
    """
    # Positions that predict an answer's token, each row's side by side.
    row, place = answer[:, 1:].nonzero(as_tuple=True)
    counts = answer[:, 1:].sum(1)
    slot = torch.arange(len(row), device=ids.device) - (counts.cumsum(0) - counts)[row]
    at = torch.zeros(len(ids), int(counts.max()), dtype=torch.long, device=ids.device)
    targets = torch.full_like(at, -100)
    at[row, slot], targets[row, slot] = place, ids[row, place + 1]
    # Nothing follows an answer's end but padding.
    mask = answer.long().flip(1).cumsum(1).flip(1).clamp(max=1)
    with evaluating(network):
        inner = body(network)
        hidden = inner(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        picked = hidden.gather(1, at[..., None].expand(-1, -1, hidden.shape[-1]))
        logits = unembed(network, picked)
    losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return losses.sum(1)


@contextmanager
def example_gradients(network: PreTrainedModel, receive: Receive) -> Iterator[None]:
    """Within the block, each backward pass hands on the factors of all its examples.

    The sum of `answer_losses` is what to backpropagate. The parameters themselves get no
    gradient meanwhile, which saves a third of a training pass. Factors of a parameter
    arrive when the backward pass reaches it, and nothing keeps them afterwards.
    """
    watch = _Watch(network, receive)
    frozen = {p: p.requires_grad for p in network.parameters()}
    handles = watch.attach()
    network.requires_grad_(False)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, trained in frozen.items():
            parameter.requires_grad_(trained)


class _Watch:
    def __init__(self, network: PreTrainedModel, receive: Receive) -> None:
        self._network, self._receive = network, receive
        self._names = {id(p): name for name, p in network.named_parameters()}
        self._examples, self._busy = 0, False

    def attach(self) -> list[Any]:
        handles = [
            self._network.get_input_embeddings().register_forward_pre_hook(self._begin)
        ]
        for module in self._network.modules():
            if not list(module.parameters(recurse=False)):
                continue
            if isinstance(module, nn.Embedding):
                handles.append(module.register_forward_pre_hook(self._repeat))
            handles.append(module.register_forward_hook(self._see))
        return handles

    def _begin(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._examples = len(inputs[0])

    def _repeat(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Positions are looked up once for all rows; here each row looks up its own."""
        chosen, *rest = inputs
        return (chosen.expand(self._examples, -1), *rest)

    def _see(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self._busy or not torch.is_grad_enabled():
            return
        if not (inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)):
            raise InputError(
                f"{type(module).__name__} holds weights and takes or gives no plain tensor; "
                f"gradients an example of {type(self._network).__name__} aren't supported"
            )
        if isinstance(module, nn.Embedding):
            output.requires_grad_(True)
        output.register_hook(partial(self._arrived, module, inputs[0].detach()))

    def _arrived(self, module: nn.Module, x: Tensor, gradient: Tensor) -> None:
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, nn.Embedding):
            # Gemma scales what it looks up; a padding token's row is never trained.
            gradient = gradient * getattr(module, "embed_scale", 1.0)
            if module.padding_idx is not None:
                gradient = gradient * (x != module.padding_idx)[..., None]
            self._give(own["weight"], Lookup(x, gradient))
        elif isinstance(module, nn.Linear | Conv1D):
            outer = (gradient, x) if isinstance(module, nn.Linear) else (x, gradient)
            self._give(own["weight"], Outer(*outer))
            if own.get("bias") is not None:
                self._give(own["bias"], Whole(gradient.sum(1)))
        else:
            for name, values in self._small(module, own, x, gradient).items():
                self._give(own[name], Whole(values))

    def _give(self, parameter: nn.Parameter, factors: Factors) -> None:
        self._receive(self._names[id(parameter)], factors)

    def _small(
        self, module: nn.Module, own: dict[str, nn.Parameter], x: Tensor, gradient: Tensor
    ) -> dict[str, Tensor]:
        """Norms: their own gradients, row by row, by running them again."""
        values = {name: p.detach() for name, p in own.items()}

        def of_one(x: Tensor, gradient: Tensor) -> dict[str, Tensor]:
            back = vjp(lambda w: functional_call(module, w, (x,)), values)[1]
            found: dict[str, Tensor] = back(gradient)[0]
            return found

        self._busy = True
        try:
            return vmap(of_one)(x, gradient)
        finally:
            self._busy = False
