"""How hard a distillation term pulls, measured while it trains a copy."""

import copy
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel, Trainer
from transformers.trainer_callback import PrinterCallback

from interfere.errors import InputError
from interfere.training.freezing import mask_alike
from interfere.training.mitigation import (
    AddedRows,
    AddsLoss,
    ChangesRows,
    Kept,
    Positions,
    Spending,
    Start,
    Step,
)
from interfere.training.teacher import Teacher

LOOKS = 4
"""Last steps whose gradient is measured."""


@dataclass
class Measured:
    """A loss that notes the norm of its gradient in the trained parameters, step by step."""

    adds: AddsLoss
    network: PreTrainedModel
    trainer: Trainer | None = None
    """Knows where an optimizer step ends."""
    norms: deque[float] = field(default_factory=lambda: deque(maxlen=LOOKS))
    summed: list[Tensor] = field(default_factory=list)

    @property
    def positions(self) -> Positions:
        """The loss's."""
        return self.adds.positions

    @property
    def cached(self) -> bool:
        """A short training gains nothing from it."""
        return False

    def frozen_teacher(self, start: Start) -> Teacher:
        """The loss's."""
        return self.adds.frozen_teacher(start)

    def spending(self, start: Start) -> Spending | None:
        """The loss's."""
        return self.adds.spending(start)

    def added_rows(self, start: Start) -> AddedRows | None:
        """The loss's."""
        return self.adds.added_rows(start) if isinstance(self.adds, ChangesRows) else None

    def loss(self, student: Kept, teacher: Kept, step: Step) -> Tensor:
        """The loss's."""
        value = self.adds.loss(student, teacher, step)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        found = torch.autograd.grad(
            value, trained, retain_graph=True, materialize_grads=True
        )
        if self.summed:
            found = tuple(a + b for a, b in zip(self.summed, found, strict=True))
        self.summed = list(found)
        assert self.trainer is not None
        if self.trainer.accelerator.sync_gradients:
            self.norms.append(_norm(self.summed))
            self.summed = []
        return value


def distillation_pull(
    start: Start, adds: AddsLoss, steps: int
) -> tuple[float, PreTrainedModel]:
    """Mean norm of the term's gradient over the last LOOKS of so many steps with it.

    Also the copy that was trained. Its learning rate is the training's, without warm-up.
    """
    from interfere.training.trainer import InterferenceTrainer

    network = copy.deepcopy(start.network)
    mask_alike(network, start.network)
    arguments = copy.copy(start.arguments)
    changes = {
        "max_steps": steps,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    for name, value in changes.items():
        setattr(arguments, name, value)
    measured = Measured(adds, network)
    before = start.cost.rows, start.cost.added_rows
    trainer = InterferenceTrainer(
        network,
        arguments,
        mitigation=measured,
        tokenizer=start.tokenizer,
        known_rows=start.known_rows,
        old_facts=start.old,
        base=start.base,
        cost=start.cost,
        train_dataset=start.rows,
        data_collator=start.collate,
    )
    measured.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False)
    start.cost.measured_rows += start.cost.rows - before[0]
    start.cost.rows, start.cost.added_rows = before
    if not measured.norms:
        raise InputError("no step had a position to distil at: there is no pull to match")
    return sum(measured.norms) / len(measured.norms), network


def distance(network: PreTrainedModel, anchors: Mapping[str, Tensor]) -> float:
    """‖θ - anchor‖ over the parameters named."""
    named = dict(network.named_parameters())
    gone = []
    for name, anchor in anchors.items():
        now = named[name].detach()
        gone.append(now - anchor.to(now.device))
    return _norm(gone)


def _norm(parts: list[Tensor]) -> float:
    return float(torch.stack([part.square().sum() for part in parts]).sum().sqrt())
