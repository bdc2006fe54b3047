"""Exact inner products of examples' gradients: what the sketched ones are held to."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from transformers import PreTrainedModel

from interfere.models.example_gradients import (
    Factors,
    Whole,
    answer_losses,
    example_gradients,
    in_full,
)
from interfere.models.parameter_groups import components

AT_ONCE = 1 << 25
"""Numbers of all examples' gradients that are held at a time."""


def exact_products(
    network: PreTrainedModel,
    ids: Int[Tensor, "examples tokens"],
    answer: Bool[Tensor, "examples tokens"],
    *,
    scale: Mapping[str, Tensor] | None = None,
) -> dict[str, Float64[Tensor, "examples examples"]]:
    """Inner product of every two examples' gradients, by component; for small blocks.

    Gradients are formed some columns at a time, so that none is ever there in full. Costs
    what sketching costs and the square of the examples on top.

    Args:
        network: whose parameters the gradients are of.
        ids: prompts and answers, padded on the right.
        answer: which tokens the loss is of; see `answer_losses`.
        scale: multiplies each parameter's gradient entry by entry, by name.
    """
    component = components(network)
    found: dict[str, Tensor] = {}

    def add(name: str, part: Tensor) -> None:
        total = found.setdefault(
            component[name], torch.zeros(len(ids), len(ids), dtype=torch.float64)
        )
        total += (part @ part.T).double().cpu()

    _each_part(network, ids, answer, scale, add)
    return found


def exact_squares(
    network: PreTrainedModel,
    ids: Int[Tensor, "examples tokens"],
    answer: Bool[Tensor, "examples tokens"],
    *,
    scale: Mapping[str, Tensor] | None = None,
) -> Float64[Tensor, " examples"]:
    """Squared norm of each example's gradient, all parameters together.

    Arguments as in `exact_products`; without its cost in the square of the examples.
    """
    found = torch.zeros(len(ids), dtype=torch.float64)

    def add(_: str, part: Tensor) -> None:
        found.add_(part.double().square().sum(1).cpu())

    _each_part(network, ids, answer, scale, add)
    return found


def _each_part(
    network: PreTrainedModel,
    ids: Tensor,
    answer: Tensor,
    scale: Mapping[str, Tensor] | None,
    add: Callable[[str, Tensor], None],
) -> None:
    """Hands on every parameter's gradients, scaled, some columns at a time."""
    shapes = {name: p.shape for name, p in network.named_parameters()}
    uses: dict[str, list[Factors]] = defaultdict(list)
    tied = _tied(network)

    def give(name: str, factors: list[Factors]) -> None:
        factor = None if scale is None else scale[name].to(ids.device)
        for part in _parts(factors, shapes[name], factor):
            add(name, part)

    def receive(name: str, factors: Factors) -> None:
        # A tied matrix's uses have one gradient, their sum: wait for all of them.
        if name == tied:
            uses[name].append(factors)
        else:
            give(name, [factors])

    with example_gradients(network, receive):
        answer_losses(network, ids, answer).sum().backward()
    for name, factors in uses.items():
        give(name, factors)


def _tied(network: PreTrainedModel) -> str | None:
    weight = network.get_input_embeddings().weight
    if network.get_output_embeddings().weight is not weight:
        return None
    return next(name for name, p in network.named_parameters() if p is weight)


def _parts(
    uses: list[Factors], shape: torch.Size, scale: Tensor | None
) -> Iterator[Float[Tensor, "examples numbers"]]:
    """All examples' gradients, scaled, some columns at a time; uses of one matrix add up."""
    first = uses[0]
    if isinstance(first, Whole):
        yield (first.values if scale is None else first.values * scale).flatten(1)
        return
    rows, columns = shape
    step = max(1, AT_ONCE // (len(first.columns) * rows))
    for start in range(0, columns, step):
        chosen = slice(start, min(start + step, columns))
        narrow = torch.Size((rows, chosen.stop - start))
        part = sum(
            in_full(replace(use, columns=use.columns[..., chosen]), narrow)
            for use in uses
            if not isinstance(use, Whole)
        )
        assert isinstance(part, Tensor)
        yield (part if scale is None else part * scale[:, chosen]).flatten(1)
