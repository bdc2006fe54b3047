"""Exact inner products of examples' gradients: what the sketched ones are held to."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
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

Scale = Mapping[str, Tensor] | None
"""By parameter name what multiplies its gradient entry by entry; None: nothing does."""

AT_ONCE = 1 << 25
"""Numbers of all examples' gradients that are held at a time."""


def exact_products(
    network: PreTrainedModel,
    ids: Int[Tensor, "examples tokens"],
    answer: Bool[Tensor, "examples tokens"],
    *,
    scale: Scale = None,
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

    def add(_: int, name: str, part: Tensor) -> None:
        total = found.setdefault(
            component[name], torch.zeros(len(ids), len(ids), dtype=torch.float64)
        )
        total += (part @ part.T).double().cpu()

    _each_part(network, ids, answer, [scale], add)
    return found


def exact_squares(
    network: PreTrainedModel,
    ids: Int[Tensor, "examples tokens"],
    answer: Bool[Tensor, "examples tokens"],
    *,
    scales: Sequence[Scale] = (None,),
) -> Float64[Tensor, "scales examples"]:
    """Squared norm of each example's gradient by each scale, all parameters together.

    Arguments as in `exact_products`; without its cost in the square of the examples, and
    gradients are formed but once.
    """
    found = torch.zeros(len(scales), len(ids), dtype=torch.float64)

    def add(kind: int, _: str, part: Tensor) -> None:
        # A norm's digits suffice within one parameter's columns.
        found[kind] += part.square().sum(1).double().cpu()

    _each_part(network, ids, answer, scales, add)
    return found


def _each_part(
    network: PreTrainedModel,
    ids: Tensor,
    answer: Tensor,
    scales: Sequence[Scale],
    add: Callable[[int, str, Tensor], None],
) -> None:
    """Hands on every parameter's gradients by each scale, some columns at a time."""
    shapes = {name: p.shape for name, p in network.named_parameters()}
    uses: dict[str, list[Factors]] = defaultdict(list)
    tied = _tied(network)

    def give(name: str, factors: list[Factors]) -> None:
        own = [None if scale is None else scale[name].to(ids.device) for scale in scales]
        for kind, part in _parts(factors, shapes[name], own):
            add(kind, name, part)

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
    uses: list[Factors], shape: torch.Size, scales: Sequence[Tensor | None]
) -> Iterator[tuple[int, Float[Tensor, "examples numbers"]]]:
    """All examples' gradients, some columns at a time; uses of one matrix add up.

    Each part comes once by each scale, with that scale's place.
    """
    first = uses[0]
    if isinstance(first, Whole):
        for kind, scale in enumerate(scales):
            values = first.values if scale is None else first.values * scale
            yield kind, values.flatten(1)
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
        for kind, scale in enumerate(scales):
            scaled = part if scale is None else part * scale[:, chosen]
            yield kind, scaled.flatten(1)
