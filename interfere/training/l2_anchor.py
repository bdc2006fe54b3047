"""Stay near the weights that training starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.model import Model
from interfere.training.gradient_norms import distance, distillation_pull
from interfere.training.mitigation import Penalty, Start
from interfere.training.self_distillation import SelfDistillation
from interfere.training.sharded import laid_out_as, whole


@dataclass(frozen=True)
class L2Anchor:
    """Adds strength / 2 · Σ (θ - θ₀)² over the trained parameters; gradient strength · (θ - θ₀).

    strength=None: matched by measurement, so that the penalty pulls as hard as the
    distillation term of `matched_to` (a SelfDistillation, or its settings) does. A copy is
    trained with that term for `matching_steps` steps; strength is then the mean norm of the
    term's gradient over the next batches, divided by how far the weights have gone from the
    anchor.

    Cost: one pass over the weights a step, memory of one copy; the matching's steps where
    it is asked for. Known to fail: every direction costs alike, those that old facts don't
    need as much as those that they do, so it slows learning before it protects.

    Raises:
        InputError: strength below 0, an anchor that doesn't exist, steps below 1, or
            settings that SelfDistillation refuses.

    Source: L2-SP, arXiv 1802.01483, eq. 2; as a control matched to self-distillation,
    arXiv 2604.15574 (its anchor is not known).
    """

    strength: float | None = None
    anchor: Model | Literal["start", "base"] = "start"
    matched_to: SelfDistillation | Mapping[str, Any] = field(default_factory=dict)
    matching_steps: int = 40

    def __post_init__(self) -> None:
        if self.strength is not None and not self.strength >= 0:
            raise InputError(f"strength must be 0 or more, got {self.strength}")
        if not isinstance(self.anchor, Model) and self.anchor not in ("start", "base"):
            raise InputError(
                f"anchor must be a loaded model, 'start' or 'base', got {self.anchor!r}"
            )
        if self.matching_steps < 1:
            raise InputError(f"matching_steps must be 1 or more, got {self.matching_steps}")
        self._rival()

    def penalty(self, start: Start) -> Penalty:
        """The penalty, from the weights as they are now.

        Raises:
            InputError: no base model where it is the anchor, or one of other shapes.
        """
        anchors = self._anchors(start)
        strength = self.strength
        if strength is None:
            strength = self._matched(start, anchors)
        return Anchored(anchors, None, strength)

    def _anchors(self, start: Start) -> dict[str, Tensor]:
        if self.anchor == "start":
            source = dict(start.network.named_parameters())
        else:
            model = start.base if self.anchor == "base" else self.anchor
            if not isinstance(model, Model):
                raise InputError("anchor='base' needs the base model: give train base=…")
            source = dict(model.network.named_parameters())
        return anchored_at(start.network, source)

    def _rival(self) -> SelfDistillation:
        if isinstance(self.matched_to, SelfDistillation):
            return self.matched_to
        try:
            return SelfDistillation(**self.matched_to)
        except TypeError as error:
            raise InputError(f"matched_to, SelfDistillation's settings: {error}") from None

    def _matched(self, start: Start, anchors: dict[str, Tensor]) -> float:
        if start.arguments.world_size > 1:
            raise InputError(
                "an L2 anchor's strength is matched on one process: match it there, and give "
                "strength=… here"
            )
        pull, network = distillation_pull(start, self._rival(), self.matching_steps)
        gone = distance(network, anchors)
        if not gone > 0:
            raise InputError("the weights didn't move while the strength was matched")
        return pull / gone


def anchored_at(
    network: PreTrainedModel, source: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Copies of the source's values for each trained parameter of the network.

    Raises:
        InputError: the source lacks one, or has it in another shape.
    """
    found = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if name not in source or source[name].shape != parameter.shape:
            raise InputError(f"the anchor has no {name} of shape {tuple(parameter.shape)}")
        found[name] = source[name].detach().to(parameter.device, copy=True)
    return found


@dataclass(frozen=True)
class Anchored:
    """strength / 2 · Σ importance · (θ - anchor)²."""

    anchors: dict[str, Tensor]
    importance: dict[str, Tensor] | None
    """Of each weight, 0 or more; None: 1 each."""
    strength: float

    def __call__(self, network: PreTrainedModel) -> Tensor:
        """The penalty of the weights as they are now."""
        named, parts = dict(network.named_parameters()), []
        for name, anchor in self.anchors.items():
            # accelerate may have moved or sharded the model since these were copied
            self.anchors[name] = laid_out_as(anchor, named[name])
            squared = (named[name] - self.anchors[name]).square()
            if self.importance is not None:
                self.importance[name] = laid_out_as(self.importance[name], named[name])
                squared = squared * self.importance[name]
            parts.append(whole(squared.sum()))
        return self.strength / 2 * torch.stack(parts).sum()
