"""Learn the new, answer the rest as a frozen teacher does."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.model import Model
from interfere.training.distillation_loss import distillation_loss
from interfere.training.divergences import Direction
from interfere.training.mitigation import (
    AddedRows,
    Kept,
    Positions,
    Spending,
    Start,
    Step,
)
from interfere.training.rows import prompt_rows
from interfere.training.teacher import AdapterOff, Frozen, Teacher

DistilledRows = Literal["training", "known", "background"]


@dataclass(frozen=True)
class SelfDistillation:
    """Adds strength · τ² · KL(teacher_τ ‖ student_τ), mean over the chosen positions.

    Both sides at temperature τ, the cross-entropy beside it at 1. Gradient of the forward
    KL in the student's logits, at each position: strength · τ · (student_τ - teacher_τ) /
    positions. Logits are made 128 positions or more at a time, each once, with their
    gradient: at most four blocks of their size (five for Jensen–Shannon; one more where
    logits are scaled, capped, biased or autocast) and one gradient of the head are alive.

    Cost: the teacher's body once a row if it is cached, else a forward a step; both heads
    at each position; memory of a second copy of the weights, unless the teacher is the
    student without its adapters (once the states of all training rows are kept, the copy's
    body lies in temporary files, written once). Known to fail: where the teacher is wrong,
    it is copied; at strengths that hold old answers the new facts come later, or never if
    the prompt's tokens are held too.

    Raises:
        InputError: temperature not above 0, strength below 0, a ratio not above 0, or an
            option or a teacher that doesn't exist.

    Source: arXiv 2604.15574 (τ 0.5, strength 1, forward). Reverse KL and Jensen–Shannon:
    arXiv 2306.13649. Background prompts: Learning without Forgetting, arXiv 1606.09282.
    """

    teacher: Model | Literal["start", "base", "adapter-off"] | None = None
    """None or `start`: a frozen copy of the model that training starts from. `base`: the
    model before it learnt the format. `adapter-off`: the student without LoRA."""
    strength: float = 1.0
    temperature: float = 0.5
    positions: Positions = "all"
    """`all`: every non-padded token of prompt, answer and end. `answer`: those that predict
    the answer or its end."""
    direction: Direction = "forward"
    """`forward`: KL(teacher ‖ student); `reverse`: the other way round; `jensen-shannon`."""
    rows: DistilledRows = "training"
    """Which rows: all that are trained on; those that the model knew; or the questions of
    further facts, without their answers, which are added beside the others."""
    background: FactSet | Sequence[str] | None = None
    """For rows="background": facts whose questions, or texts that, are distilled on; None:
    the old facts that this training may spend."""
    ratio: float = 0.5
    """For rows="background": such rows beside each row of a batch."""
    cached: bool = True
    """Compute the teacher's last hidden states once (`CachedTeacher`)."""

    def __post_init__(self) -> None:
        named = self.teacher is None or self.teacher in ("start", "base", "adapter-off")
        if not named and not isinstance(self.teacher, Model):
            raise InputError(
                f"teacher must be a loaded model, 'start', 'base' or 'adapter-off', got "
                f"{self.teacher!r}"
            )
        if not self.temperature > 0:
            raise InputError(f"temperature must be above 0, got {self.temperature}")
        if not self.strength >= 0:
            raise InputError(f"strength must be 0 or more, got {self.strength}")
        if not self.ratio > 0:
            raise InputError(f"ratio must be above 0, got {self.ratio}")
        options = {"positions": Positions, "direction": Direction, "rows": DistilledRows}
        for name, kind in options.items():
            if getattr(self, name) not in get_args(kind):
                wanted = " or ".join(map(repr, get_args(kind)))
                raise InputError(f"{name} must be {wanted}, got {getattr(self, name)!r}")

    def frozen_teacher(self, start: Start) -> Teacher:
        """The teacher.

        Raises:
            InputError: it has another vocabulary, shares weights with the student, or is the
                base where none was given.
        """
        student = start.network
        if self.teacher == "adapter-off":
            return AdapterOff(student)
        if self.teacher is None or self.teacher == "start":
            return Frozen(copy.deepcopy(student), own=True)
        if isinstance(self.teacher, Model):
            teacher = self.teacher
        elif start.base is None:
            raise InputError("teacher='base' needs the base model: give train base=…")
        else:
            teacher = start.base
        refuse_unlike(teacher, start)
        return Frozen(teacher.network)

    def spending(self, start: Start) -> Spending | None:
        """DistilledRows that are not distilled on weigh 0."""
        if self.rows == "training":
            return None
        if self.rows == "known" and start.known_rows is None:
            raise InputError(
                "rows='known' needs to be told which rows are Known: give InterferenceTrainer "
                "known_rows=…"
            )
        known, count = set(start.known_rows or ()), len(start.rows)

        def weights(
            numbers: Int[Tensor, " rows"], network: PreTrainedModel, step: int
        ) -> Float[Tensor, " rows"]:
            chosen = [
                n in known if self.rows == "known" else n >= count for n in numbers.tolist()
            ]
            return torch.tensor(chosen, dtype=torch.float32)

        return weights

    def added_rows(self, start: Start) -> AddedRows | None:
        """The background's rows; none carries a label."""
        if self.rows != "background":
            return None
        model = start.model("distillation on background prompts")
        given = self.background
        if given is None or isinstance(given, FactSet):
            given = start.old_facts("distillation on background prompts", given)
        return AddedRows(prompt_rows(given, model.tokenizer), self.ratio)

    def loss(self, student: Kept, teacher: Kept, step: Step) -> Tensor:
        """This batch's part of the term; `step.positions` is the whole step's."""
        return distillation_loss(
            student,
            teacher,
            step,
            direction=self.direction,
            temperature=self.temperature,
            scale=self.strength * self.temperature**2,
        )


def refuse_unlike(teacher: Model, start: Start) -> None:
    """Refuse a teacher that can't be compared with the student.

    Raises:
        InputError: another vocabulary, shared weights.
    """
    network, student, name = teacher.network, start.network, teacher.name
    sizes = [n.config.get_text_config().vocab_size for n in (network, student)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"the teacher {name!r} has {sizes[0]} logits, the student {sizes[1]}; "
            "distillation needs one vocabulary"
        )
    tokenizer = start.tokenizer
    if tokenizer and tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        raise InputError(
            f"the teacher {name!r} has another vocabulary than the student; "
            "distillation needs one vocabulary"
        )
    own = {parameter.data_ptr() for parameter in student.parameters()}
    if any(parameter.data_ptr() in own for parameter in network.parameters()):
        raise InputError(
            f"the teacher {name!r} shares weights with the student and would be "
            "trained too; give teacher.copy()"
        )
