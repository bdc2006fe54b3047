"""A divergence between two heads' distributions, chunk by chunk, gradient and all."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interfere.training.divergences import Direction, divergence
from interfere.training.mitigation import Kept, Step

CHUNK_BYTES = 2**25
"""Of one side's float32 logits that are alive at once; up to eight such blocks are."""
LEAST = 128
"""Positions at a time, however large the vocabulary: each chunk passes over the heads."""


def distillation_loss(
    student: Kept,
    teacher: Kept,
    step: Step,
    *,
    direction: Direction,
    temperature: float,
    chunk: int | None = None,
) -> Float[Tensor, ""]:
    """Σ weights · divergence / step.positions over the positions given.

    Logits are made a chunk at a time, once: the gradient in them is a closed form, which is
    carried on to hidden states and head while they are there. So nothing of the size of a
    vocabulary is kept for the backward pass but one gradient of the head.

    Args:
        student: last hidden states.
        teacher: likewise, of the same positions.
        step: heads, weights and what to divide by.
        direction: see `divergence`.
        temperature: of both sides.
        chunk: positions at a time; None: as many as CHUNK_BYTES hold, at least LEAST.
    """
    if not len(student):
        return student.sum()  # 0, with a gradient
    found: Tensor = _Summed.apply(  # type: ignore[no-untyped-call]
        student, teacher, step, (direction, temperature, chunk), *step.parameters
    )
    return found / step.positions


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        step: Step,
        options: tuple[Direction, float, int | None],
        *parameters: Tensor,
    ) -> Tensor:
        direction, temperature, chunk = options
        weights = step.weights
        wanted = any(ctx.needs_input_grad)
        total = torch.zeros((), device=student.device)
        states = torch.zeros_like(student)
        head: list[Tensor] = [torch.zeros_like(p) for p in parameters] if wanted else []
        first = 0
        while first < len(student):
            if chunk is None:
                size = step.teacher_head(teacher[:1]).shape[-1] * 4
                chunk = max(LEAST, CHUNK_BYTES // size)
            place = slice(first, first + chunk)
            with torch.enable_grad():
                z = student[place].detach().requires_grad_(wanted)
                logits = step.student_head(z)
            found = divergence(
                logits.detach().float(),
                step.teacher_head(teacher[place]).float(),
                direction=direction,
                temperature=temperature,
            )
            value, gradient = found
            if weights is not None:
                value = value * weights[place]
                gradient = gradient.mul_(weights[place, None])
            total += value.sum()
            if wanted:
                own, *rest = torch.autograd.grad(
                    logits, [z, *parameters], gradient.to(logits.dtype), allow_unused=True
                )
                states[place] = own
                for sum_, part in zip(head, rest, strict=True):
                    if part is not None:
                        sum_ += part
            del logits, found, gradient  # before the next chunk's are made
            first += chunk
        ctx.save_for_backward(states, *head)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        states, *head = ctx.saved_tensors
        return (
            states * outer[0],
            None,
            None,
            None,
            *(part * outer[0] for part in head),
        )
