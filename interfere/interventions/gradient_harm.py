"""What a step on all new facts does to each old one, and each new fact's part in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.fact_gradients import (
    loss_rows,
    loss_tensors,
    optimizers,
    parameter_scale,
)
from interfere.measures.gradient_kernel import Optimizer
from interfere.models.exact_products import Scale, exact_squares
from interfere.models.gradient_check import check_seen
from interfere.models.gradients_along import Direction, gradient_sum, gradients_along
from interfere.models.model import Model
from interfere.training.rows import Row
from interfere.training.second_moments import Moments


@dataclass(frozen=True)
class GradientHarm:
    """Row and column sums of a `GradientKernel`, exact, for a learning rate of 1.

    g is the gradient of a fact's loss, D what the optimizer multiplies a step by entry by
    entry: 1 for SGD, 1 / (√v̂ + ε) for AdamW with v̂ as it stands.
    """

    optimizer: Optimizer
    risk: Float64[np.ndarray, " old"]
    """-⟨gᵢ, D Σⱼ gⱼ⟩: predicted rise (nats) of old fact i's loss by a step on all new ones."""
    cosine: Float64[np.ndarray, " old"]
    """Of √D gᵢ and √D Σⱼ gⱼ, in [-1, 1]; NaN where either is 0."""
    blame: Float64[np.ndarray, " new"]
    """-⟨gⱼ, D Σᵢ gᵢ⟩: predicted rise of all old facts' losses by a step on new fact j."""


def gradient_harm(
    model: Model,
    old: FactSet,
    new: FactSet,
    *,
    second_moments: Moments | None = None,
    epsilon: float = 1e-8,
    batch_size: int = 32,
) -> dict[Optimizer, GradientHarm]:
    """For "sgd", and for "adamw" given its v̂.

    Sums over facts are linear, so they need no sketch: old facts' gradients are held
    against the new ones' sum, and the other way round. Costs about two training passes
    over all facts, and three to five over the old ones for their norms; holds about five
    times the network's size and, of a batch's gradients, some columns at a time.

    Args:
        model: where training starts, float32.
        old: facts that may be forgotten.
        new: facts that would be trained on.
        second_moments: v̂ by parameter name; None: only "sgd".
        epsilon: AdamW's.
        batch_size: facts run at a time; changes memory and last bits only.

    Raises:
        InputError: no facts, a batch size below 1, second moments that don't fit, weights
            that aren't float32, or an architecture whose gradients aren't all seen.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be above 0, got {batch_size}")
    if model.network.dtype != torch.float32:
        raise InputError(
            f"{model.name} has {model.network.dtype} weights, too coarse for products of "
            "gradients; load it with dtype='float32'"
        )
    scale = parameter_scale(model, second_moments, epsilon)
    sides = {"old": loss_rows(model, old), "new": loss_rows(model, new)}
    ids, answer = loss_tensors(sides["old"][:1], model)
    check_seen(model.network, ids, answer)
    steps = _steps(_sum(model, sides["new"], batch_size), scale)
    pull = _along(model, sides["old"], steps, batch_size)
    scales = {name: scale if name == "adamw" else None for name in optimizers(scale)}
    lengths = {name: _square(steps[name], own) for name, own in scales.items()}
    del steps  # two of the network's size
    steps = _steps(_sum(model, sides["old"], batch_size), scale)
    push = _along(model, sides["new"], steps, batch_size)
    del steps
    squares = _squares(model, sides["old"], list(scales.values()), batch_size)
    found: dict[Optimizer, GradientHarm] = {}
    for name, own in zip(scales, squares, strict=True):
        norms = np.sqrt(own * lengths[name])
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = np.where(norms > 0, pull[name] / norms, np.nan)
        found[name] = GradientHarm(name, -pull[name], cosine, -push[name])
    return found


def _sum(model: Model, rows: list[Row], batch_size: int) -> dict[str, Tensor]:
    """Of all facts' gradients."""
    total: dict[str, Tensor] = {}
    for start in range(0, len(rows), batch_size):
        batch = loss_tensors(rows[start : start + batch_size], model)
        for name, gradient in gradient_sum(model.network, *batch).items():
            if name in total:
                total[name] += gradient
            else:
                total[name] = gradient
    return total


def _steps(total: dict[str, Tensor], scale: Scale) -> dict[Optimizer, Direction]:
    """D times the sum, by optimizer."""
    plain: dict[Optimizer, Direction] = {"sgd": total}
    if scale is None:
        return plain
    return plain | {"adamw": {name: g * scale[name].square() for name, g in total.items()}}


def _along(
    model: Model, rows: list[Row], steps: Mapping[Optimizer, Direction], batch_size: int
) -> dict[str, Float64[np.ndarray, " facts"]]:
    parts = []
    directions = {str(name): step for name, step in steps.items()}
    for start in range(0, len(rows), batch_size):
        batch = loss_tensors(rows[start : start + batch_size], model)
        parts.append(gradients_along(model.network, *batch, directions))
    return {name: torch.cat([p[name] for p in parts]).cpu().numpy() for name in directions}


def _squares(
    model: Model, rows: list[Row], scales: Sequence[Scale], batch_size: int
) -> Float64[np.ndarray, "scales facts"]:
    """Squared norms of √D gᵢ."""
    parts = [
        exact_squares(
            model.network,
            *loss_tensors(rows[start : start + batch_size], model),
            scales=scales,
        )
        for start in range(0, len(rows), batch_size)
    ]
    return torch.cat(parts, 1).numpy()


def _square(step: Direction, scale: Scale) -> float:
    """‖√D g‖² of g's step D g."""
    total = 0.0
    for name, moved in step.items():
        if scale is None:
            total += float(moved.double().square().sum())
            continue
        # √D g = D g / √D, where AdamW moves at all.
        own = torch.where(scale[name] > 0, moved / scale[name], 0.0)
        total += float(own.double().square().sum())
    return total
