"""Stay near the weights where old facts need them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.example_gradients import answer_losses
from interfere.models.model import Model
from interfere.training.fact_batches import fact_batches
from interfere.training.l2_anchor import Anchored, anchored_at
from interfere.training.mitigation import Penalty, Start


@dataclass(frozen=True)
class EWC:
    """Elastic weight consolidation: strength / 2 · Σ F (θ - θ₀)², θ₀ where training starts.

    F is the diagonal of the Fisher information on facts that the model knows, divided by
    its mean, so that strength is in the units of `L2Anchor`'s.

    Cost: once, a forward and a backward of each fact by itself; then one pass over the
    weights a step; memory of two copies. Known to fail: a diagonal sees no direction
    between weights, and a small Fisher at the start (the facts are known, so their
    gradients are small) says little of what a long training will need.

    Raises:
        InputError: strength below 0, facts below 1.

    Source: arXiv 1612.00796, eq. 3; the Fisher of the given answers (empirical).
    """

    strength: float = 1.0
    facts: FactSet | None = None
    """Known facts; None: those that this training may spend."""
    fisher_facts: int = 256
    """How many of them, the first."""

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise InputError(f"strength must be 0 or more, got {self.strength}")
        if self.fisher_facts < 1:
            raise InputError(f"fisher_facts must be 1 or more, got {self.fisher_facts}")

    def penalty(self, start: Start) -> Penalty:
        """The penalty, with the Fisher of the weights as they are now.

        Raises:
            InputError: no Known facts, or a Fisher that is 0 everywhere.
        """
        facts = start.old_facts("EWC", self.facts)[: self.fisher_facts]
        fisher = diagonal_fisher(start.model("EWC"), facts)
        start.cost.measured_rows += len(facts)
        anchors = anchored_at(start.network, dict(start.network.named_parameters()))
        chosen = {name: fisher[name] for name in anchors}
        mean = sum(f.double().sum() for f in chosen.values()) / sum(
            f.numel() for f in chosen.values()
        )
        if not mean > 0:
            raise InputError("EWC's Fisher is 0 everywhere: no trained parameter is used")
        scaled = {name: (f / mean).to(f.dtype) for name, f in chosen.items()}
        return Anchored(anchors, scaled, self.strength)


def diagonal_fisher(model: Model, facts: FactSet) -> dict[str, Float[Tensor, "..."]]:
    """Mean over facts of the squared gradient of log p(answer and end | question).

    By parameter name, for those that are trainable; a fact at a time, without dropout.

    Raises:
        InputError: no facts.
    """
    named = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in named.items()}
    for ids, answer in fact_batches(model, facts, 1):
        with torch.enable_grad():
            loss = answer_losses(model.network, ids, answer).sum()
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for name, gradient in zip(named, found, strict=True):
            if gradient is not None:
                total[name] += gradient.square() / len(facts)
    return total
