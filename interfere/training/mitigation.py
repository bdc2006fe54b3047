"""What an arm may add to plain fine-tuning: narrow Protocols, met by small dataclasses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainingArguments,
)

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.model import Model
from interfere.training.cost import Cost
from interfere.training.rows import Row, Rows
from interfere.training.teacher import Teacher

Kept: TypeAlias = Float[Tensor, "kept d"]
"""Last hidden states at a step's chosen positions, student's and teacher's in one order."""

Positions: TypeAlias = Literal["all", "answer"]
"""`all`: every non-padded token; `answer`: those that predict the answer or its end."""


@dataclass(frozen=True)
class Start:
    """What a mitigation may know when training is about to begin."""

    network: PreTrainedModel
    """As training starts from it, before any mitigation has changed it: copy what you keep."""
    tokenizer: PreTrainedTokenizerBase | None
    rows: Rows
    """What is trained on, without what mitigations add."""
    known_rows: Sequence[int] | None
    """Which of the rows the model knew; None where nobody said."""
    old: FactSet | None
    """Facts that the model knows, not trained on, not measured: what a mitigation may spend."""
    base: Model | None
    """The model before it learnt the format."""
    seed: int
    collate: Callable[[list[Row]], dict[str, Tensor]]
    """Rows to a batch, as training makes them."""
    arguments: TrainingArguments
    """Of the training."""
    cost: Cost
    """Where a mitigation counts what it spends by itself."""

    def model(self, who: str) -> Model:
        """The network with its tokenizer.

        Raises:
            InputError: training was given no tokenizer.
        """
        if self.tokenizer is None:
            raise InputError(f"{who} needs the tokenizer: give InterferenceTrainer one")
        return Model("start of training", self.network, self.tokenizer)

    def old_facts(self, who: str, own: FactSet | None = None) -> FactSet:
        """The mitigation's own facts, else those of this training.

        Raises:
            InputError: neither has any.
        """
        found = self.old if own is None else own
        if found is None or not len(found):
            raise InputError(
                f"{who} needs facts that the model knows and that are not trained on: give "
                "it facts=…, or a split with `others`"
            )
        return found


@dataclass(frozen=True)
class Step:
    """What a loss may use beside the hidden states."""

    student_head: Callable[[Tensor], Tensor]
    """Hidden states `[kept, d]` to logits `[kept, vocabulary]`."""
    teacher_head: Callable[[Tensor], Tensor]
    positions: Tensor | float
    """The weight of the optimizer step's positions, over accumulation and processes; their
    number where each weighs 1."""
    weights: Float[Tensor, " kept"] | None = None
    """Of the positions given; None: 1 each."""
    parameters: tuple[Tensor, ...] = ()
    """Those of the student's head that are trained."""
    head_weight: Float[Tensor, "v d"] | None = None
    """The student's head, where its logits are hidden states times this and nothing else."""


Spending: TypeAlias = Callable[
    [Int[Tensor, " rows"], PreTrainedModel, int], Float[Tensor, " rows"]
]
"""Numbers of a batch's rows (added ones follow those trained on), the student and the
optimizer step about to be made, to weights; a row of weight 0 costs the teacher nothing."""


@runtime_checkable
class AddsLoss(Protocol):
    """Adds to the loss something that compares the student with a frozen teacher."""

    @property
    def positions(self) -> Positions:
        """Where student and teacher are compared."""
        ...

    @property
    def cached(self) -> bool:
        """Whether the teacher's states are computed once."""
        ...

    def frozen_teacher(self, start: Start) -> Teacher:
        """The teacher: it never changes, and shares no trained weight with the student."""
        ...

    def spending(self, start: Start) -> Spending | None:
        """How much each row weighs; None: 1 each."""
        ...

    def loss(self, student: Kept, teacher: Kept, step: Step) -> Tensor:
        """A scalar: this batch's part, already divided by `step.positions`."""
        ...


@runtime_checkable
class ChangesModel(Protocol):
    """Changes the network in place before the optimizer is built."""

    def change(self, network: PreTrainedModel) -> None:
        """Called once, before training."""
        ...

    def finish(self, network: PreTrainedModel) -> None:
        """Called by `train` after training: leave a plain network, all of it trainable."""
        ...


@dataclass(frozen=True)
class AddedRows:
    """Rows beside those trained on."""

    rows: Rows
    ratio: float = 0.0
    """Added rows beside each row of a batch; 0: none but those of `last`."""
    last: Literal["end", "shuffled"] | None = None
    """All of them once in the last epoch, in place of as many others: after all others, or
    at random among them."""
    refresh: Callable[[PreTrainedModel, int], None] | None = None
    """Called before each optimizer step is made: the rows may become others, their number
    stays."""


@runtime_checkable
class ChangesRows(Protocol):
    """Trains on more rows."""

    def added_rows(self, start: Start) -> AddedRows | None:
        """Called once; None: no more rows after all."""
        ...


Penalty: TypeAlias = Callable[[PreTrainedModel], Tensor]
"""The network to a scalar that is added to each optimizer step's loss."""


@runtime_checkable
class AddsPenalty(Protocol):
    """Adds to the loss something that depends on the weights alone."""

    def penalty(self, start: Start) -> Penalty:
        """Called once, before training."""
        ...


GradientChange: TypeAlias = Callable[[PreTrainedModel, int], None]
"""Changes `.grad` in place, before clipping; gets the optimizer step about to be made."""


@runtime_checkable
class ChangesGradient(Protocol):
    """Changes each optimizer step's gradient."""

    def gradient_change(self, start: Start) -> GradientChange:
        """Called once, before training."""
        ...


@runtime_checkable
class Watches(Protocol):
    """Looks on as training goes, and may stop it."""

    def callback(self, start: Start) -> TrainerCallback:
        """Called once, before training."""
        ...


Mitigation: TypeAlias = (
    AddsLoss | ChangesModel | ChangesRows | AddsPenalty | ChangesGradient | Watches
)
"""A mitigation meets one of the Protocols or more."""

PROTOCOLS = (AddsLoss, ChangesModel, ChangesRows, AddsPenalty, ChangesGradient, Watches)


def as_mitigations(
    given: Mitigation | Sequence[Mitigation] | None,
) -> tuple[Mitigation, ...]:
    """None, one or several, as a tuple.

    Raises:
        InputError: something that meets no Protocol, two that add a loss with a teacher, or
            two that change the model.
    """
    found = () if given is None else given if isinstance(given, tuple | list) else (given,)
    for one in found:
        if not isinstance(one, PROTOCOLS):
            raise InputError(
                f"{type(one).__name__} is no mitigation: it has none of loss, change, "
                "added_rows, penalty, gradient_change and callback"
            )
    for kind in (AddsLoss, ChangesModel):
        if len(both := [type(one).__name__ for one in found if isinstance(one, kind)]) > 1:
            raise InputError(
                f"{both[0]} and {both[1]} can't be combined: both are of kind {kind.__name__}"
            )
    return tuple(found)
