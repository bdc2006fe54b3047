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
    return divergence_of_logs(
        log_probabilities(student, temperature),
        log_probabilities(teacher, temperature),
        direction=direction,
        temperature=temperature,
    )


def log_probabilities(
    logits: Float[Tensor, "n v"], temperature: float
) -> Float[Tensor, "n v"]:
    """Log softmax(logits / τ), without autograd."""
    with torch.no_grad():
        return (logits if temperature == 1 else logits / temperature).log_softmax(-1)


def divergence_of_logs(
    log_q: Float[Tensor, "n v"],
    log_p: Float[Tensor, "n v"],
    *,
    direction: Direction,
    temperature: float,
) -> Divergence:
    """As `divergence`, of log-probabilities at the temperature; overwrites both.

    Blocks of their size are what a step's peak of memory is made of: the forward KL needs
    one beside the two.
    """
    with torch.no_grad():
        if direction == "forward":
            p = log_p.exp()
            value = log_p.sub_(log_q).mul_(p).sum(-1)
            gradient = log_q.exp_().sub_(p)
        elif direction == "reverse":
            ratio = torch.sub(log_q, log_p, out=log_p)
            q = log_q.exp_()
            value = (q * ratio).sum(-1)
            gradient = q.mul_(ratio.sub_(value[:, None]))
        else:
            log_m = torch.logaddexp(log_p, log_q) - math.log(2)
            p = log_p.exp()
            value = 0.5 * log_p.sub_(log_m).mul_(p).sum(-1)
            ratio = torch.sub(log_q, log_m, out=log_m)
            q = log_q.exp_()
            mean = (q * ratio).sum(-1)
            value += 0.5 * mean
            gradient = q.mul_(ratio.sub_(mean[:, None])).mul_(0.5)
        return Divergence(value.clamp(min=0), gradient.div_(temperature))
