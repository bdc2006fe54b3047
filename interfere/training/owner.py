"""The trainer that is calling, for callbacks that report through it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from transformers import Trainer, TrainerControl


def calling_trainer() -> Trainer | None:
    """The nearest `transformers.Trainer` whose method is running; None outside one.

    Callbacks are given a trainer's state, model and control, but not the trainer, whose
    reporting alone reaches every place that the user chose.
    """
    return next((trainer for trainer, _ in _running()), None)


def resumed_from() -> Path | None:
    """The checkpoint that the calling trainer goes on from; None: it began anew.

    Trainer hands it from method to method and keeps it nowhere.
    """
    innermost = calling_trainer()
    for trainer, frame in _running():
        if trainer is not innermost:
            return None
        folder = frame.f_locals.get("resume_from_checkpoint")
        if isinstance(folder, str | Path):
            return Path(folder)
    return None


def _running() -> Iterator[tuple[Trainer, FrameType]]:
    """Trainers' methods that are running, the innermost first."""
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer):
            yield owner, frame
        frame = frame.f_back  # type: ignore[assignment]


def report(trainer: Trainer, numbers: dict[str, float], control: TrainerControl) -> None:
    """Report numbers to the console and wherever else the trainer reports.

    A trainer's own `log` may add averages that it then begins anew (TRL's does), and
    reporting clears the wish to report the loss at this step: neither happens here.
    """
    wished = control.should_log
    Trainer.log(trainer, numbers)
    control.should_log = wished
