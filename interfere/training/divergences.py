"""How far a student's next-token distributions are from a teacher's, with the gradient."""

import math
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Direction: TypeAlias = Literal["forward", "reverse", "jensen-shannon"]


class Divergence(NamedTuple):
    """Of each position."""

    value: Float[Tensor, " n"]
    """Nats, 0 or more."""
    gradient: Float[Tensor, "n v"]
    """In the student's logits at temperature 1."""


def divergence(
    student: Float[Tensor, "n v"],
    teacher: Float[Tensor, "n v"],
    *,
    direction: Direction,
    temperature: float,
) -> Divergence:
    """Between softmax(teacher / τ) = p and softmax(student / τ) = q, row by row.

    - forward: KL(p ‖ q), gradient (q - p) / τ.
    - reverse: KL(q ‖ p), gradient q · (r - Σ q r) / τ with r = log q - log p.
    - jensen-shannon: ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q) / 2; at most log 2; gradient
      q · (r - Σ q r) / 2τ with r = log q - log m.

    Nothing is recorded for autograd. Source: forward and reverse as in arXiv 2306.13649,
    table 1; Jensen–Shannon is its generalised form at β = ½.
    """
    with torch.no_grad():
        log_p = (teacher / temperature).log_softmax(-1)
        log_q = (student / temperature).log_softmax(-1)
        q = log_q.exp()
        if direction == "forward":
            p = log_p.exp()
            value = (p * (log_p - log_q)).sum(-1)
            gradient = q.sub_(p)
        else:
            share = 1.0
            against = log_p
            if direction == "jensen-shannon":
                share = 0.5
                against = torch.logaddexp(log_p, log_q) - math.log(2)
            ratio = log_q - against
            mean = (q * ratio).sum(-1)
            value = share * mean
            if direction == "jensen-shannon":
                value = value + share * (log_p.exp() * (log_p - against)).sum(-1)
            gradient = q * (ratio - mean[:, None]) * share
        return Divergence(value.clamp(min=0), gradient.div_(temperature))
