"""Learn without moving where old facts' losses would move."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.evaluating import evaluating
from interfere.models.example_gradients import answer_losses
from interfere.models.model import Model
from interfere.models.sketched_gradients import GradientSketcher
from interfere.training.fact_batches import fact_batches
from interfere.training.mitigation import GradientChange, Start

BATCH = 32


@dataclass(frozen=True)
class GradientProjection:
    """Takes out of each step's gradient what lies in the span of old facts' gradients.

    The span: the top `rank` principal directions (not centred) of the gradients of `count`
    Known facts' losses, computed at the start and again every `refresh` steps. `rank=0`:
    the mean gradient alone, and only where the step would raise the old facts' loss (A-GEM).

    Cost: a forward and backward of every fact and `rank` more to build the span; memory of
    `rank` copies of the trained weights, in checkpoints too once it was built again. Known
    to fail: under AdamW the step is not along the gradient, so it leaves the complement; the
    span of a nonlinear model turns as it learns; where new facts need the same directions it
    slows learning.

    Raises:
        InputError: rank or refresh below 0, count below 1, or a rank above the count.

    Source: OGD, arXiv 1910.07104; A-GEM, arXiv 1812.00420, eq. 11.
    """

    rank: int = 16
    count: int = 256
    refresh: int = 0
    """Optimizer steps between two spans; 0: never again."""
    facts: FactSet | None = None
    """None: those that this training may spend."""

    def __post_init__(self) -> None:
        for name in ("rank", "refresh"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.count < 1:
            raise InputError(f"count must be 1 or more, got {self.count}")
        if self.rank > self.count:
            raise InputError(
                f"a span of rank {self.rank} needs as many facts, not {self.count}"
            )

    def gradient_change(self, start: Start) -> GradientChange:
        """The projection.

        Raises:
            InputError: no Known facts, or fewer than the rank.
        """
        facts = start.old_facts("gradient projection", self.facts)[: self.count]
        if self.rank > len(facts):
            raise InputError(
                f"a span of rank {self.rank} needs as many Known facts, there are {len(facts)}"
            )
        return _Projection(self, facts, start)


class _Projection:
    def __init__(self, options: GradientProjection, facts: FactSet, start: Start) -> None:
        self._options, self._facts, self._start = options, facts, start
        self._model = start.model("gradient projection")
        # Before a checkpoint is loaded, so that a training that resumes has the same span.
        self._span = self._make()
        self._since = 0

    def state_dict(self) -> dict[str, Any]:
        """The span, where the start no longer gives it."""
        refreshed = self._since > 0
        return {"span": self._span, "since": self._since} if refreshed else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the span of a checkpoint."""
        if state:
            self._span, self._since = state["span"], state["since"]

    def __call__(self, network: PreTrainedModel, step: int) -> None:
        if self._options.refresh and step - self._since >= self._options.refresh:
            held = {p: p.grad for p in network.parameters()}
            self._span = self._make()
            for parameter, gradient in held.items():
                parameter.grad = gradient
            self._since = step
        trained = [p for p in network.parameters() if p.grad is not None]
        flat = torch.cat([p.grad.flatten() for p in trained if p.grad is not None])
        if len(flat) != self._span.shape[1]:
            raise InputError(
                "gradient projection needs every trained parameter's whole gradient; it "
                "can't be used where weights are sharded (FSDP)"
            )
        self._span = self._span.to(flat)
        along = self._span @ flat
        if not self._options.rank:
            along = along.clamp(max=0)  # only what would raise the old facts' loss
        flat -= self._span.T @ along
        place = 0
        for parameter in trained:
            size = parameter.numel()
            parameter.grad = flat[place : place + size].view_as(parameter).clone()
            place += size

    def _make(self) -> Float[Tensor, "rank parameters"]:
        # one for the sketch or the mean; the span takes a forward, and a backward a direction
        self._start.cost.measured_rows += len(self._facts)
        if self._options.rank:
            self._start.cost.asked_rows += len(self._facts) * (1 + 2 * self._options.rank)
        with evaluating(self._model.network):
            if not self._options.rank:
                return mean_direction(self._model, self._facts)
            return gradient_span(self._model, self._facts, self._options.rank)


def mean_direction(model: Model, facts: FactSet) -> Float[Tensor, "1 parameters"]:
    """The facts' mean gradient, of length 1, over the trainable parameters in a row."""
    found = weighted_gradients(model, facts, np.ones((len(facts), 1), np.float32))
    return found / found.norm().clamp(min=torch.finfo(found.dtype).tiny)


def gradient_span(
    model: Model, facts: FactSet, rank: int
) -> Float[Tensor, "rank parameters"]:
    """Orthonormal rows that span the facts' gradients' top principal directions.

    The directions' weights come from sketched products of gradients, the directions
    themselves are exact sums of gradients with these weights.
    """
    batches = list(fact_batches(model, facts, BATCH))
    sketcher = GradientSketcher(model.network, *batches[0])
    parts = [torch.cat(list(sketcher(*batch).plain.values()), 1) for batch in batches]
    sketch = torch.cat(parts).double()
    values, vectors = torch.linalg.eigh(sketch @ sketch.T)
    weights = vectors[:, -rank:] / values[-rank:].clamp(min=1e-12).sqrt()
    found = weighted_gradients(model, facts, weights.float().cpu().numpy())
    # Nearly orthonormal already: what the sketch missed is mended by a small QR.
    return torch.linalg.qr(found.T).Q.T.contiguous()


def weighted_gradients(
    model: Model, facts: FactSet, weights: Float[np.ndarray, "facts rank"]
) -> Float[Tensor, "rank parameters"]:
    """Σᵢ weights[i, k] · gᵢ for each k, over the trainable parameters in a row."""
    trained = [p for p in model.network.parameters() if p.requires_grad]
    rank = weights.shape[1]
    size = sum(p.numel() for p in trained)
    found = torch.zeros(rank, size, device=model.device)
    first = 0
    for ids, answer in fact_batches(model, facts, BATCH):
        with torch.enable_grad():
            losses = answer_losses(model.network, ids, answer)
        own = torch.from_numpy(weights[first : first + len(ids)]).to(losses)
        for k in range(rank):
            gradients = torch.autograd.grad(
                losses @ own[:, k], trained, retain_graph=k + 1 < rank, allow_unused=True
            )
            place = 0
            for parameter, gradient in zip(trained, gradients, strict=True):
                if gradient is not None:
                    found[k, place : place + parameter.numel()] += gradient.flatten()
                place += parameter.numel()
        first += len(ids)
    return found
