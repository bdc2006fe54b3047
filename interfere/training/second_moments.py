"""What AdamW divides its steps by: from an optimizer, or from facts to be trained on."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.example_gradients import answer_losses
from interfere.models.model import Model
from interfere.training.rows import IGNORED, FactRows, SeededOrder, collate
from interfere.training.train import room

Moments = Mapping[str, Tensor]
"""v̂ by parameter name: an average of squared gradients, bias-corrected."""


def second_moments(optimizer: Optimizer, network: PreTrainedModel) -> dict[str, Tensor]:
    """v̂ = v / (1 - β₂ᵗ) of an Adam or AdamW that has taken a step; 0 where it never did.

    Raises:
        InputError: an optimizer without such a state.
    """
    betas = {
        id(p): group.get("betas", (0.0, 0.0))
        for group in optimizer.param_groups
        for p in group["params"]
    }
    found = {}
    for name, parameter in network.named_parameters():
        state = optimizer.state.get(parameter, {})
        if "exp_avg_sq" in state:
            decay = betas[id(parameter)][1] ** float(state["step"])
            found[name] = state["exp_avg_sq"].detach() / (1 - decay)
        else:
            found[name] = torch.zeros_like(parameter)
    if not any("exp_avg_sq" in state for state in optimizer.state.values()):
        raise InputError(
            f"{type(optimizer).__name__} holds no second moments of this network; give an "
            "AdamW after its first step"
        )
    return found


def estimate_second_moments(
    model: Model,
    facts: FactSet,
    *,
    batch_size: int = 32,
    seed: int = 0,
    clip: float | None = 1.0,
) -> dict[str, Tensor]:
    """Mean over one epoch's batches of the squared gradient, nothing being trained.

    What AdamW's v̂ would tend to on these facts if the weights stood still: batches and
    loss are those of `train`, so give the facts that will be trained on, new ones among
    them: a token that occurs in none has 0, which counts as never moved. Without dropout.
    Costs a training pass and twice the weights' memory.

    Args:
        model: where training starts.
        facts: to be trained on.
        batch_size: of the training.
        seed: of the training's order.
        clip: norm that a batch's gradient is cut to, as `train` does; None: never.

    Raises:
        InputError: no facts.
    """
    rows = FactRows(facts, model.tokenizer, room(model))
    order = list(SeededOrder(rows, seed))
    # Frozen parameters have no second moment, as in an optimizer that wasn't given them.
    parameters = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    total = {n: torch.zeros_like(p) for n, p in model.network.named_parameters()}
    starts = range(0, len(rows), batch_size)
    for start in starts:
        batch = collate([rows[i] for i in order[start : start + batch_size]])
        ids, labels = (batch[k].to(model.device) for k in ("input_ids", "labels"))
        answer = labels != IGNORED
        loss = answer_losses(model.network, ids, answer).sum() / answer.sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        found = {n: g for n, g in zip(parameters, gradients, strict=True) if g is not None}
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in found.values()]))
        shrink = 1.0 if clip is None else min(1.0, clip / float(norm))
        for name, gradient in found.items():
            total[name] += (shrink * gradient).square() / len(starts)
    return total


def adamw_scale(
    network: PreTrainedModel, moments: Moments, *, epsilon: float = 1e-8
) -> dict[str, Tensor]:
    """1 / √(√v̂ + ε) of each parameter: AdamW's division, half of it for either side.

    0 where v̂ is 0: no gradient ever came there, and AdamW never moved it.

    Raises:
        InputError: a parameter is missing, has another shape, or a v̂ that is negative or
            not finite.
    """
    found = {}
    for name, parameter in network.named_parameters():
        if name not in moments:
            raise InputError(f"no second moment of {name}; give one for every parameter")
        v = moments[name]
        if v.shape != parameter.shape:
            raise InputError(
                f"the second moment of {name} has shape {tuple(v.shape)}, the parameter "
                f"{tuple(parameter.shape)}"
            )
        if not bool(((v >= 0) & v.isfinite()).all()):
            raise InputError(f"the second moment of {name} is negative, NaN or infinite")
        scale = (v.float().sqrt() + epsilon).rsqrt()
        found[name] = torch.where(v > 0, scale, 0.0)
    return found
