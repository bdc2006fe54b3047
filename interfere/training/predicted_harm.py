"""Which rows will harm old facts, and which old facts are at risk, to first order."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interfere.facts.fact import FactSet
from interfere.models.answering import ask
from interfere.models.example_gradients import answer_losses
from interfere.models.gradients_along import gradient_sum, gradients_along
from interfere.models.head import body
from interfere.models.model import Model
from interfere.training.fact_batches import fact_batches
from interfere.training.mitigation import Start
from interfere.training.rows import IGNORED

SAMPLE = 512
"""Training rows, spread over all, that AdamW's scale is estimated on."""
BATCH = 32
RANK = 16
EPSILON = 1e-8

Batch = tuple[Int[Tensor, "rows tokens"], Bool[Tensor, "rows tokens"]]


def row_harm(model: Model, facts: FactSet, start: Start) -> Float[Tensor, " rows"]:
    """By how much a step on each row raises the facts' mean loss, up to one factor.

    -⟨gⱼ, P ḡ⟩: gⱼ the row's gradient, ḡ the facts' mean one, P = 1 / (√v̂ + ε) what AdamW
    divides a step by, v̂ estimated on the training's rows.
    """
    _, scale = _training_step(model, start)
    mean = _sum(fact_batches(model, facts, BATCH), model)
    direction = {name: scale[name] * g / len(facts) for name, g in mean.items()}
    parts = [
        -gradients_along(model.network, *batch, {"old": direction})["old"]
        for batch in _rows(model, start)
    ]
    return torch.cat(parts).cpu()


def fact_risk(model: Model, facts: FactSet, start: Start) -> Float[Tensor, " facts"]:
    """By how much the training's mean step raises each fact's loss, up to one factor."""
    mean, scale = _training_step(model, start)
    direction = {name: scale[name] * g for name, g in mean.items()}
    parts = [
        -gradients_along(model.network, *batch, {"new": direction})["new"]
        for batch in fact_batches(model, facts, BATCH)
    ]
    return torch.cat(parts).cpu()


def fact_logprobs(model: Model, facts: FactSet) -> Float[Tensor, " facts"]:
    """Of each fact's answer and its end, nats."""
    return torch.from_numpy(ask(model, facts, sampling=False).logprob)


def row_overlap(model: Model, facts: FactSet, start: Start) -> Float[Tensor, " rows"]:
    """Share of each row's state that lies in the old facts' principal subspace, in [0, 1].

    At the middle block's output, at the token that the answer follows; centred by the old
    facts' mean; RANK dimensions.
    """
    old = torch.cat([_states(model, *b) for b in fact_batches(model, facts, BATCH)])
    new = torch.cat([_states(model, *b) for b in _rows(model, start)])
    mean = old.mean(0)
    span = torch.linalg.svd(old - mean, full_matrices=False).Vh[:RANK]
    centred = new - mean
    inside = (centred @ span.T).square().sum(1)
    return (inside / centred.square().sum(1).clamp(min=1e-12)).cpu()


def _states(
    model: Model, ids: Int[Tensor, "rows tokens"], answer: Bool[Tensor, "rows tokens"]
) -> Float[Tensor, "rows d"]:
    with torch.no_grad():
        hidden = body(model.network)(
            input_ids=ids, use_cache=False, output_hidden_states=True
        ).hidden_states[model.layers // 2 + 1]
    before = answer.long().argmax(1) - 1
    return hidden[torch.arange(len(ids)), before.clamp(min=0)].double()


def _training_step(
    model: Model, start: Start
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Mean gradient of the training's first rows, and AdamW's scale estimated on them."""
    named = dict(model.network.named_parameters())
    mean = {name: torch.zeros_like(p) for name, p in named.items()}
    squares = {name: torch.zeros_like(p) for name, p in named.items()}
    trained = [name for name, p in named.items() if p.requires_grad]
    batches = 0
    for ids, answer in _rows(model, start, SAMPLE):
        with torch.enable_grad():
            loss = answer_losses(model.network, ids, answer).sum() / answer.sum()
        found = torch.autograd.grad(loss, [named[n] for n in trained], allow_unused=True)
        batches += 1
        for name, gradient in zip(trained, found, strict=True):
            if gradient is not None:
                mean[name] += gradient
                squares[name] += gradient.square()
    scale = {
        name: torch.where(s > 0, 1 / ((s / batches).sqrt() + EPSILON), 0.0)
        for name, s in squares.items()
    }
    return {name: g / batches for name, g in mean.items()}, scale


def _sum(batches: Iterator[Batch], model: Model) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    for batch in batches:
        for name, gradient in gradient_sum(model.network, *batch).items():
            total[name] = total[name] + gradient if name in total else gradient
    return total


def _rows(model: Model, start: Start, count: int | None = None) -> Iterator[Batch]:
    rows = start.rows
    many = len(rows) if count is None else min(count, len(rows))
    apart = len(rows) / many  # spread over all rows: those of one kind may lie together
    places = [int(i * apart) for i in range(many)]
    for first in range(0, many, BATCH):
        batch = start.collate([rows[i] for i in places[first : first + BATCH]])
        ids, answer = batch["input_ids"], batch["labels"] != IGNORED
        if (mask := batch.get("attention_mask")) is not None:
            # The caller's batches may be padded on the left; what reads these expects the right.
            order = (1 - mask.long()).argsort(dim=1, stable=True)
            ids, answer = ids.gather(1, order), answer.gather(1, order)
        yield ids.to(model.device), answer.to(model.device)
