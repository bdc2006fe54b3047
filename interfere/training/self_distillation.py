"""Learn the new, answer the rest as a frozen teacher does."""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interfere.errors import InputError
from interfere.models.model import Model
from interfere.training.mitigation import Kept, Positions, Step

CHUNK = 512
"""Positions whose logits are alive at once."""


@dataclass(frozen=True)
class SelfDistillation:
    """Adds strength · τ² · KL(teacher_τ ‖ student_τ), mean over the chosen positions.

    Forward KL: the teacher's distribution comes first. Both sides at temperature τ, the
    cross-entropy beside it at 1. Gradient in the student's logits, at each position:
    strength · τ · (student_τ - teacher_τ) / positions. `positions="all"`, the default:
    every non-padded token of prompt, answer and end. Logits are made 512 positions at a
    time, and made again for the backward pass where there are more.

    Without a teacher, a frozen copy of the model that training starts from.

    Raises:
        InputError: temperature not above 0, strength below 0, or a teacher that is no
            Model.

    Source: arXiv 2604.15574 (τ 0.5, strength 1).
    """

    teacher: Model | None = None
    strength: float = 1.0
    temperature: float = 0.5
    positions: Positions = "all"

    def __post_init__(self) -> None:
        if self.teacher is not None and not isinstance(self.teacher, Model):
            raise InputError(
                f"teacher must be a loaded model, got {self.teacher!r}; from a command or a "
                "study it is a frozen copy of the model that training starts from"
            )
        if not self.temperature > 0:
            raise InputError(f"temperature must be above 0, got {self.temperature}")
        if not self.strength >= 0:
            raise InputError(f"strength must be 0 or more, got {self.strength}")
        if self.positions not in ("all", "answer"):
            raise InputError(f"positions must be 'all' or 'answer', got {self.positions!r}")

    def frozen_teacher(
        self, student: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None
    ) -> PreTrainedModel:
        """The teacher's network in evaluation mode; it only ever runs without gradients.

        Raises:
            InputError: the teacher has another vocabulary, shares weights with the student,
                or lies on another device.
        """
        if self.teacher is None:
            student = copy.deepcopy(student)
            student.eval()
            return student
        teacher, name = self.teacher.network, self.teacher.name
        sizes = [n.config.get_text_config().vocab_size for n in (teacher, student)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"the teacher {name!r} has {sizes[0]} logits, the student {sizes[1]}; "
                "distillation needs one vocabulary"
            )
        if tokenizer and tokenizer.get_vocab() != self.teacher.tokenizer.get_vocab():
            raise InputError(
                f"the teacher {name!r} has another vocabulary than the student; "
                "distillation needs one vocabulary"
            )
        own = {parameter.data_ptr() for parameter in student.parameters()}
        if any(parameter.data_ptr() in own for parameter in teacher.parameters()):
            raise InputError(
                f"the teacher {name!r} shares weights with the student and would be "
                "trained too; give teacher.copy()"
            )
        if teacher.device != student.device:
            raise InputError(
                f"the teacher {name!r} is on {teacher.device}, the student on "
                f"{student.device}; load both onto one device"
            )
        teacher.eval()
        return teacher

    def loss(self, student: Kept, teacher: Kept, step: Step) -> Tensor:
        """This batch's part of the term; `step.positions` is the whole step's."""
        if len(student) <= CHUNK:
            total = self._kl(student, teacher, step)
        else:
            chunks = zip(student.split(CHUNK), teacher.split(CHUNK), strict=True)
            parts = [checkpoint(self._kl, *c, step, use_reentrant=False) for c in chunks]
            total = torch.stack(parts).sum()
        return self.strength * self.temperature**2 * total / step.positions

    def _kl(self, student: Kept, teacher: Kept, step: Step) -> Tensor:
        with torch.no_grad():
            p = (step.teacher_head(teacher).float() / self.temperature).log_softmax(-1)
        q = (step.student_head(student).float() / self.temperature).log_softmax(-1)
        return F.kl_div(q, p, reduction="sum", log_target=True)
