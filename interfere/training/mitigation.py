"""What an arm may add to plain fine-tuning: narrow Protocols, met by small dataclasses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Kept: TypeAlias = Float[Tensor, "kept d"]
"""Last hidden states at a step's chosen positions, student's and teacher's in one order."""

Positions: TypeAlias = Literal["all", "answer"]
"""`all`: every non-padded token; `answer`: those that predict the answer or its end."""


@dataclass(frozen=True)
class Step:
    """What a loss may use beside the hidden states."""

    student_head: Callable[[Tensor], Tensor]
    """Hidden states `[kept, d]` to logits `[kept, vocabulary]`."""
    teacher_head: Callable[[Tensor], Tensor]
    positions: Tensor | int
    """How many positions the optimizer step has, over accumulation and processes."""


@runtime_checkable
class AddsLoss(Protocol):
    """Adds to the loss something that compares the student with a frozen teacher."""

    @property
    def positions(self) -> Positions:
        """Where student and teacher are compared."""
        ...

    def frozen_teacher(
        self, student: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None
    ) -> PreTrainedModel:
        """The teacher, in evaluation mode, sharing no weight with the student."""
        ...

    def loss(self, student: Kept, teacher: Kept, step: Step) -> Tensor:
        """A scalar: this batch's part, already divided by `step.positions`."""
        ...


@runtime_checkable
class ChangesModel(Protocol):
    """Changes the network in place before the optimizer is built."""

    def change(self, network: PreTrainedModel) -> None:
        """Called once."""
        ...


Mitigation: TypeAlias = AddsLoss | ChangesModel
"""A mitigation meets one of the Protocols or more."""
