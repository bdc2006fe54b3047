"""What a student is held to: last hidden states and the unembedding of a frozen network."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.evaluating import evaluating
from interfere.models.head import body, unembed
from interfere.training.cost import Cost
from interfere.training.parked import park

Batch = dict[str, Tensor]


@runtime_checkable
class Teacher(Protocol):
    """Gives last hidden states, and logits of those that are asked for."""

    def states(
        self, inputs: Batch, kept: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "kept d"]:
        """Last hidden states at the positions kept, final norm included; no gradient."""
        ...

    def head(self, hidden: Float[Tensor, "kept d"]) -> Float[Tensor, "kept v"]:
        """Logits."""
        ...


@dataclass(frozen=True)
class Frozen:
    """A network of its own, in evaluation mode; it only ever runs without gradients."""

    network: PreTrainedModel
    own: bool = False
    """Nobody else has the network, so its weights may be parked."""

    def __post_init__(self) -> None:
        self.network.eval()
        body(self.network)  # its self-check

    def states(
        self, inputs: Batch, kept: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "kept d"]:
        """One forward of the body, over the rows that have a position kept."""
        return kept_states(body(self.network), inputs, kept)

    def head(self, hidden: Float[Tensor, "kept d"]) -> Float[Tensor, "kept v"]:
        """The network's own unembedding."""
        return unembed(self.network, hidden)

    def park(self) -> None:
        """Keep weights of its own out of memory, but the head's, while it isn't asked."""
        if self.own:
            park(self.network)


@dataclass(frozen=True)
class AdapterOff:
    """The student itself without its LoRA adapters: no second copy of the weights."""

    network: PreTrainedModel

    def states(
        self, inputs: Batch, kept: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "kept d"]:
        """One forward of the body, adapters off, over the rows that have a position kept."""
        with self._off():
            return kept_states(self.network.base_model, inputs, kept)

    def head(self, hidden: Float[Tensor, "kept d"]) -> Float[Tensor, "kept v"]:
        """The network's own unembedding, adapters off."""
        with self._off():
            return unembed(self.network, hidden)

    @contextmanager
    def _off(self) -> Iterator[None]:
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [m for m in self.network.modules() if isinstance(m, BaseTunerLayer)]
        if not layers:
            raise InputError(
                "teacher='adapter-off' needs a model with LoRA adapters; combine it with LoRA()"
            )
        with evaluating(self.network):
            try:
                for layer in layers:
                    layer.enable_adapters(False)
                yield
            finally:
                for layer in layers:
                    layer.enable_adapters(True)


@dataclass(frozen=True)
class CountedTeacher:
    """A teacher whose forwards are counted."""

    teacher: Teacher
    cost: Cost

    def states(
        self, inputs: Batch, kept: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "kept d"]:
        """The teacher's."""
        self.cost.teacher_rows += int(kept.any(1).sum())
        return self.teacher.states(inputs, kept)

    def head(self, hidden: Float[Tensor, "kept d"]) -> Float[Tensor, "kept v"]:
        """The teacher's."""
        return self.teacher.head(hidden)


def kept_states(
    inner: torch.nn.Module, inputs: Batch, kept: Bool[Tensor, "rows tokens"]
) -> Float[Tensor, "kept d"]:
    """A forward without gradients over the rows that have a position kept."""
    rows = kept.any(1)
    wanted = {name: values[rows] for name, values in inputs.items()}
    with torch.no_grad():
        states: Tensor = inner(**wanted, use_cache=False).last_hidden_state
    return states[kept[rows]]
