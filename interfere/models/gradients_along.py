"""How far each example's loss gradient points along given directions, exactly."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from transformers import PreTrainedModel

from interfere.models.example_gradients import (
    Factors,
    Lookup,
    Whole,
    answer_losses,
    example_gradients,
)

Direction = Mapping[str, Tensor]
"""By parameter name, a tensor of its shape."""


def gradients_along(
    network: PreTrainedModel,
    ids: Int[Tensor, "examples tokens"],
    answer: Bool[Tensor, "examples tokens"],
    directions: Mapping[str, Direction],
) -> dict[str, Float64[Tensor, " examples"]]:
    """⟨gᵢ, d⟩ of each example i and direction d, over all parameters.

    One forward and backward pass and, for each direction, about another forward. A product
    with Σₜ rowsₜ ⊗ columnsₜ is Σₜ rowsₜ · d columnsₜ, so no example's gradient is formed.

    Args:
        network: whose parameters the gradients are of; the network must be one that
            `check_seen` passes.
        ids: prompts and answers, padded on the right.
        answer: which tokens the loss is of; see `answer_losses`.
        directions: by any name; each with every parameter.
    """
    found = {
        name: torch.zeros(len(ids), dtype=torch.float64, device=ids.device)
        for name in directions
    }

    def receive(parameter: str, factors: Factors) -> None:
        for name, direction in directions.items():
            found[name] += _along(factors, direction[parameter].to(ids.device)).double()

    with torch.enable_grad(), example_gradients(network, receive):
        answer_losses(network, ids, answer).sum().backward()  # type: ignore[no-untyped-call]
    return found


def gradient_sum(
    network: PreTrainedModel,
    ids: Int[Tensor, "examples tokens"],
    answer: Bool[Tensor, "examples tokens"],
) -> dict[str, Float[Tensor, "..."]]:
    """Σᵢ gᵢ by parameter name: gradient of the summed loss; 0 of a parameter not used."""
    parameters = dict(network.named_parameters())
    loss = answer_losses(network, ids, answer).sum()
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    return sums | {n: g for n, g in zip(trained, found, strict=True) if g is not None}


def _along(factors: Factors, direction: Tensor) -> Float[Tensor, " examples"]:
    if isinstance(factors, Whole):
        return factors.values.flatten(1) @ direction.flatten()
    if isinstance(factors, Lookup):
        return (direction[factors.chosen] * factors.columns).sum((1, 2))
    return ((factors.rows @ direction) * factors.columns).sum((1, 2))
