"""Are all parameters' gradients seen as they go by?"""

import weakref

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.example_gradients import (
    Factors,
    answer_losses,
    example_gradients,
    in_full,
)

_CHECKED: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()

TOLERANCE = 1e-3
"""Of the whole gradient's norm."""


def check_seen(
    network: PreTrainedModel,
    ids: Int[Tensor, "1 tokens"],
    answer: Bool[Tensor, "1 tokens"],
) -> None:
    """Hold one example's factors to autograd's gradient, once a network.

    Raises:
        InputError: they differ, as where a parameter is used in a way that isn't known.
    """
    if network in _CHECKED:
        return
    parameters = dict(network.named_parameters())
    with torch.enable_grad():
        trained = {name: p.requires_grad for name, p in parameters.items()}
        network.requires_grad_(True)
        loss = answer_losses(network, ids, answer).sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    for name, parameter in parameters.items():
        parameter.requires_grad_(trained[name])
    missing = {
        name: torch.zeros_like(p) if gradient is None else gradient
        for (name, p), gradient in zip(parameters.items(), gradients, strict=True)
    }
    whole = sum(float(gradient.double().square().sum()) for gradient in missing.values())

    def receive(name: str, factors: Factors) -> None:
        missing[name] -= in_full(factors, parameters[name].shape)[0]

    with example_gradients(network, receive):
        answer_losses(network, ids, answer).sum().backward()
    left = {name: float(rest.double().square().sum()) for name, rest in missing.items()}
    worst = max(left, key=lambda name: left[name])
    if not left[worst] <= TOLERANCE**2 * whole:
        raise InputError(
            f"the gradient of {worst} in {type(network).__name__} isn't what its layer's "
            "inputs and outputs give; gradients an example aren't supported there"
        )
    _CHECKED.add(network)
