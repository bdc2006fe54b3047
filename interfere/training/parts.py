"""What mitigations make before the first step, for the trainer to use as it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from interfere.errors import InputError
from interfere.training.checkpoints import Resumes
from interfere.training.freezing import masks_weights
from interfere.training.mitigation import (
    AddedRows,
    AddsLoss,
    AddsPenalty,
    ChangesGradient,
    ChangesModel,
    ChangesRows,
    GradientChange,
    Mitigation,
    Penalty,
    Spending,
    Start,
    Watches,
)
from interfere.training.teacher import Teacher


@dataclass(frozen=True)
class Parts:
    """Of all mitigations of one training."""

    adds: AddsLoss | None
    teacher: Teacher | None
    spend: Spending | None
    added: AddedRows | None
    penalties: tuple[Penalty, ...]
    gradient_changes: tuple[GradientChange, ...]
    callbacks: tuple[TrainerCallback, ...]

    @property
    def resumed(self) -> list[Resumes]:
        """Those that change as training goes, in a fixed order."""
        rows = self.added.rows if self.added else None
        parts: list[Any] = [*self.gradient_changes, self.spend, rows, *self.callbacks]
        return [part for part in parts if isinstance(part, Resumes)]


def _added_rows(found: Sequence[Mitigation], start: Start) -> AddedRows | None:
    """Of the one mitigation that adds rows; what can add some need not."""
    adding = None
    for one in found:
        if not isinstance(one, ChangesRows) or (rows := one.added_rows(start)) is None:
            continue
        if adding is not None:
            raise InputError(
                f"{type(adding[0]).__name__} and {type(one).__name__} can't be combined: "
                "both add rows"
            )
        adding = one, rows
    return None if adding is None else adding[1]


def prepare(found: Sequence[Mitigation], start: Start) -> Parts:
    """Let every mitigation see the start; the model is changed where one changes it.

    Raises:
        InputError: a mitigation that lacks what it needs, or that refuses the model; two
            that add rows; weight decay where single weights are masked.
    """
    if masks_weights(found) and start.arguments.weight_decay:
        raise InputError(
            f"weight_decay={start.arguments.weight_decay:g} would move the weights that "
            "Freezing(random_control=True) leaves as they are; set weight_decay=0"
        )
    adds = next((one for one in found if isinstance(one, AddsLoss)), None)
    added = _added_rows(found, start)
    # A copy of the network is taken as it starts, before anything changes it.
    teacher = adds.frozen_teacher(start) if adds else None
    for one in found:
        if isinstance(one, ChangesModel):
            one.change(start.network)
    return Parts(
        adds=adds,
        teacher=teacher,
        added=added,
        penalties=tuple(m.penalty(start) for m in found if isinstance(m, AddsPenalty)),
        gradient_changes=tuple(
            m.gradient_change(start) for m in found if isinstance(m, ChangesGradient)
        ),
        spend=adds.spending(start) if adds else None,
        callbacks=tuple(m.callback(start) for m in found if isinstance(m, Watches)),
    )
