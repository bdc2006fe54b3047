"""Stop when old facts begin to be lost."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.answering import ask
from interfere.models.model import Model
from interfere.training.evaluation import WENT_BACK
from interfere.training.mitigation import Start


@dataclass(frozen=True)
class StabilityStopping:
    """Stops once the net loss of Known facts is above `limit` at `patience` checks in a row,
    or at the last, and goes back to the last check where it was not.

    Facts that were right at the start and are wrong, less the reverse, as a share; asked
    before the first step and then at most `checks` times, at equal distances and at the end,
    greedily, zero-shot. Going back is noted in the trainer's `state.log_history`
    (`went_back_to`, a step), and `FactEvaluation` forgets what it saw of weights that were
    given up.

    Cost: so many times the facts forward; memory, and room in each checkpoint, of one copy
    of the weights. Known to fail:
    forgetting comes with the new facts, so stopping early leaves these half learnt; and a
    dip that would have recovered stops it too, unless `patience` outlasts it.

    Raises:
        InputError: limit below 0, checks or patience below 1.

    Source: arXiv 2405.05904, section 4 (early stopping at the development set's maximum).
    """

    limit: float = 0.02
    checks: int = 20
    patience: int = 1
    facts: FactSet | None = None
    """None: those that this training may spend."""

    def __post_init__(self) -> None:
        if not self.limit >= 0:
            raise InputError(f"limit must be 0 or more, got {self.limit}")
        for name in ("checks", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more, got {getattr(self, name)}")

    def callback(self, start: Start) -> TrainerCallback:
        """What looks on.

        Raises:
            InputError: no Known facts.
        """
        facts = start.old_facts("early stopping", self.facts)
        return _Stops(self, facts, start)


class _Stops(TrainerCallback):
    def __init__(self, options: StabilityStopping, facts: FactSet, start: Start) -> None:
        self._options, self._start = options, start
        self._model = start.model("early stopping")
        self._facts = facts
        self._first = math.nan
        self._good: dict[str, Tensor] = {}
        self._above = 0
        self._good_at = 0
        self._stopped = False

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """How many are right before anything is learnt."""
        if state.global_step:  # a training that resumes: the checkpoint said it
            return
        self._first = self._right(kwargs["model"])
        self._keep(kwargs["model"], 0)

    def state_dict(self) -> dict[str, Any]:
        """How many were right at the start, and the weights to go back to."""
        return {
            "first": self._first,
            "good": self._good,
            "good_at": self._good_at,
            "above": self._above,
            "stopped": self._stopped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up how it stood at a checkpoint."""
        self._first = state["first"]
        self._good, self._good_at = state["good"], state["good_at"]
        self._above, self._stopped = state["above"], state["stopped"]

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look, and stop if too much is lost."""
        apart = math.ceil(state.max_steps / self._options.checks)
        due = not state.global_step % apart or state.global_step == state.max_steps
        if not due and not self._stopped:
            return
        network = kwargs["model"]
        if not self._stopped:
            if self._first - self._right(network) <= self._options.limit:
                self._above = 0
                self._keep(network, state.global_step)
                return
            self._above += 1
            if self._above < self._options.patience and state.global_step < state.max_steps:
                return
        self._stopped = True  # training that resumes from here makes a step and goes back
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name in self._good:
                    parameter.copy_(self._good[name])
        state.log_history.append({"step": state.global_step, WENT_BACK: self._good_at})
        control.should_training_stop = True

    def _right(self, network: PreTrainedModel) -> float:
        self._start.cost.asked_rows += len(self._facts)
        model = Model("early stopping", network, self._model.tokenizer)
        return float(ask(model, self._facts, sampling=False).right.mean())

    def _keep(self, network: PreTrainedModel, step: int) -> None:
        self._good_at = step
        named = network.named_parameters()
        self._good = {n: p.detach().clone() for n, p in named if p.requires_grad}
