"""A divergence between two heads' distributions, chunk by chunk, gradient and all."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interfere.training.divergences import (
    Direction,
    divergence_of_logs,
    log_probabilities,
)
from interfere.training.mitigation import Kept, Step

CHUNK_BYTES = 2**25
"""Of one side's float32 logits that are alive at once; five such blocks are."""
LEAST = 128
"""Positions at a time, however large the vocabulary: each chunk passes over the heads."""


def distillation_loss(
    student: Kept,
    teacher: Kept,
    step: Step,
    *,
    direction: Direction,
    temperature: float,
    scale: float = 1.0,
    chunk: int | None = None,
) -> Float[Tensor, ""]:
    """scale · Σ weights · divergence / step.positions over the positions given.

    Logits are made a chunk at a time, once: the gradient in them is a closed form, which is
    carried on to hidden states and head while they are there (by autograd, where the head is
    more than a weight or autocast casts it). So nothing of the size of a vocabulary is kept
    for the backward pass but one gradient of the head.

    Args:
        student: last hidden states.
        teacher: likewise, of the same positions.
        step: heads, weights and what to divide by.
        direction: see `divergence`.
        temperature: of both sides.
        scale: of the sum.
        chunk: positions at a time; None: as many as CHUNK_BYTES hold, at least LEAST.
    """
    if not len(student):
        return student.sum()  # 0, with a gradient
    found: Tensor = _Summed.apply(  # type: ignore[no-untyped-call]
        student, teacher, step, (direction, temperature, scale, chunk), *step.parameters
    )
    return found


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        step: Step,
        options: tuple[Direction, float, float, int | None],
        *parameters: Tensor,
    ) -> Tensor:
        direction, temperature, scale, chunk = options
        wanted = any(ctx.needs_input_grad)
        # a graph would keep the logits, and make each chunk's gradient of the head apart
        weight = None if _autocasts(student) else step.head_weight
        total = torch.zeros((), device=student.device)
        states = torch.zeros_like(student)
        head: list[Tensor] = [torch.zeros_like(p) for p in parameters] if wanted else []
        first = 0
        while first < len(student):
            if chunk is None:
                size = step.teacher_head(teacher[:1]).shape[-1] * 4
                chunk = max(LEAST, CHUNK_BYTES // size)
            place = slice(first, first + chunk)
            log_p = log_probabilities(
                step.teacher_head(teacher[place]).float(), temperature
            )
            z, logits = student[place].detach(), None
            if weight is None:
                with torch.enable_grad():
                    logits = step.student_head(z.requires_grad_(wanted))
                log_q = log_probabilities(logits.detach().float(), temperature)
            else:
                log_q = log_probabilities(step.student_head(z).float(), temperature)
            value, gradient = divergence_of_logs(
                log_q, log_p, direction=direction, temperature=temperature
            )
            if step.weights is not None:
                value = value * step.weights[place]
                gradient = gradient.mul_(step.weights[place, None])
            total += value.sum()
            del log_p, log_q  # overwritten
            if wanted and logits is not None:
                own, *rest = torch.autograd.grad(
                    logits, [z, *parameters], gradient.to(logits.dtype), allow_unused=True
                )
                states[place] = own
                for sum_, part in zip(head, rest, strict=True):
                    if part is not None:
                        sum_ += part
            elif wanted and weight is not None:
                gradient = gradient.to(weight.dtype)
                torch.mm(gradient, weight, out=states[place])
                for sum_ in head:
                    sum_.addmm_(gradient.t(), z)
            del logits, gradient  # before the next chunk's are made
            first += chunk
        factor = torch.full_like(total, scale) / step.positions
        for sum_ in (states, *head):
            sum_ *= factor
        ctx.save_for_backward(states, *head)
        return scale * (total / step.positions)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        states, *head = ctx.saved_tensors
        # copies, where they are needed: a graph may be gone through twice
        if outer[0] != 1:
            states, *head = (saved * outer[0] for saved in ctx.saved_tensors)
        return states, None, None, None, *head


def _autocasts(states: Tensor) -> bool:
    return torch.is_autocast_enabled(states.device.type)
