"""The trainer that is calling, for callbacks that report through it."""

import sys

from transformers import Trainer, TrainerControl


def calling_trainer() -> Trainer | None:
    """The nearest `transformers.Trainer` whose method is running; None outside one.

    Callbacks are given a trainer's state, model and control, but not the trainer, whose
    reporting alone reaches every place that the user chose.
    """
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer):
            return owner
        frame = frame.f_back  # type: ignore[assignment]
    return None


def report(trainer: Trainer, numbers: dict[str, float], control: TrainerControl) -> None:
    """Report numbers to the console and wherever else the trainer reports.

    A trainer's own `log` may add averages that it then begins anew (TRL's does), and
    reporting clears the wish to report the loss at this step: neither happens here.
    """
    wished = control.should_log
    Trainer.log(trainer, numbers)
    control.should_log = wished
