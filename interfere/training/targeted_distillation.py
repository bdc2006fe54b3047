"""Distil where interference is predicted, and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.evaluating import evaluating
from interfere.models.model import Model
from interfere.training.divergences import Direction
from interfere.training.mitigation import (
    AddedRows,
    Kept,
    Positions,
    Spending,
    Start,
    Step,
)
from interfere.training.predicted_harm import (
    SAMPLE,
    fact_logprobs,
    fact_risk,
    row_harm,
    row_overlap,
)
from interfere.training.rows import Row, prompt_rows
from interfere.training.self_distillation import SelfDistillation
from interfere.training.teacher import Teacher

Spend = Literal["harm", "overlap", "risk", "fallen", "uniform", "uniform old"]

ON_ROWS = ("harm", "overlap", "uniform")
"""Ways that choose among the rows trained on; the others choose old facts."""


@dataclass(frozen=True)
class TargetedDistillation:
    """`SelfDistillation` on a share of the rows: those that interference is predicted at.

    Where the budget goes, `spend`:

    - harm: training rows whose AdamW step raises the old facts' mean loss most, to first
      order (the gradient kernel of new on old; `predicted_harm.row_harm`).
    - overlap: training rows that lie deepest in the old facts' principal subspace, at the
      middle layer where the answer begins.
    - risk: questions of the old facts whose loss the training's mean step raises most, to
      first order. They are added beside the training's rows, without their answers.
    - fallen: questions of the old facts whose answer's log-probability has fallen most
      since the start; at the start, those of risk.
    - uniform, uniform old: the controls, a random share of the same size of training rows
      and of old facts' questions, drawn anew at each refresh.

    `budget`: for ways that choose training rows, their share of the rows that the teacher
    runs on; for those that choose old facts, such questions beside each row of a batch.

    Cost: the teacher on `budget` times the rows; added rows forward and backward too; at
    the start and each refresh a forward, and except for overlap and fallen a backward, of
    what is chosen among. `Cost` counts them apart. Known to fail: first-order harm is that
    of the step being made, and later ones go elsewhere.

    Raises:
        InputError: a budget not above 0 (or above 1 for training rows), refresh below 0, a
            way that doesn't exist, or what SelfDistillation refuses.

    Source: ours; the kernel is TracIn's (arXiv 2002.08484, eq. 1) under AdamW's scale.
    """

    spend: Spend = "harm"
    budget: float = 0.25
    refresh: int = 0
    """Optimizer steps between two predictions; 0: only the one at the start."""
    strength: float = 1.0
    temperature: float = 0.5
    positions: Positions = "all"
    direction: Direction = "forward"
    facts: FactSet | None = None
    """Old facts; None: those that this training may spend."""
    cached: bool = False
    """Only what is distilled on is asked of the teacher: there is nothing to compute ahead."""
    seed: int = 0
    """Of the uniform draws."""

    def __post_init__(self) -> None:
        if self.spend not in get_args(Spend):
            wanted = " or ".join(map(repr, get_args(Spend)))
            raise InputError(f"spend must be {wanted}, got {self.spend!r}")
        if not self.budget > 0 or (self.spend in ON_ROWS and self.budget > 1):
            most = " and at most 1" if self.spend in ON_ROWS else ""
            raise InputError(f"budget must be above 0{most}, got {self.budget}")
        if self.refresh < 0:
            raise InputError(f"refresh must be 0 steps or more, got {self.refresh}")
        self._plain()

    def frozen_teacher(self, start: Start) -> Teacher:
        """A frozen copy of the model that training starts from."""
        return self._plain().frozen_teacher(start)

    def added_rows(self, start: Start) -> AddedRows | None:
        """Places for the old facts chosen, where old facts are."""
        if self.spend in ON_ROWS:
            return None
        facts = start.old_facts("targeted distillation", self.facts)
        chosen = ChosenFacts(self, facts, start)
        return AddedRows(chosen, self.budget, refresh=chosen.refresh)

    def spending(self, start: Start) -> Spending:
        """Weights of 0 and 1."""
        if self.spend in ON_ROWS:
            return ChosenRows(self, start)
        own = len(start.rows)

        def added(
            numbers: Int[Tensor, " rows"], network: PreTrainedModel, step: int
        ) -> Float[Tensor, " rows"]:
            return (numbers >= own).float()

        return added

    def loss(self, student: Kept, teacher: Kept, step: Step) -> Tensor:
        """As SelfDistillation's, over the positions of the rows chosen."""
        return self._plain().loss(student, teacher, step)

    def _plain(self) -> SelfDistillation:
        return SelfDistillation(
            strength=self.strength,
            temperature=self.temperature,
            positions=self.positions,
            direction=self.direction,
        )


class ChosenFacts(Sequence[Row]):
    """Questions of the old facts at most risk: as many places as a third of the facts."""

    def __init__(self, options: TargetedDistillation, facts: FactSet, start: Start) -> None:
        self._options, self._facts, self._start = options, facts, start
        self._tokenizer = start.model("targeted distillation").tokenizer
        self._questions = prompt_rows(facts, self._tokenizer)
        self._places = list(range(max(1, len(facts) // 3)))
        self._first: Float[Tensor, " facts"] | None = None
        self._due = Due(options.refresh)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        return self._questions[self._places[place]]

    def state_dict(self) -> dict[str, Any]:
        """What is chosen, and how the facts stood at the start."""
        return {"places": self._places, "first": self._first, "last": self._due.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what was chosen at a checkpoint."""
        self._places, self._first = state["places"], state["first"]
        self._due.last = state["last"]

    def refresh(self, network: PreTrainedModel, step: int) -> None:
        """Choose, when it is time."""
        if not self._due(step):
            return
        with evaluating(network):
            score = self._score(Model("student", network, self._tokenizer), step)
        self._places = score.argsort(descending=True, stable=True)[: len(self)].tolist()

    def _score(self, model: Model, step: int) -> Float[Tensor, " facts"]:
        options, start, facts = self._options, self._start, self._facts
        if options.spend == "uniform old":
            return _random(len(facts), options.seed, step)
        if options.spend == "fallen":
            now = fact_logprobs(model, facts)
            start.cost.asked_rows += len(facts)
            if self._first is not None:
                return self._first - now
            self._first = now
        start.cost.measured_rows += len(facts) + min(SAMPLE, len(start.rows))
        return fact_risk(model, facts, start)


class ChosenRows:
    """Which of the training's rows the budget is spent on."""

    def __init__(self, options: TargetedDistillation, start: Start) -> None:
        self._options, self._start = options, start
        self._facts = (
            None
            if options.spend == "uniform"
            else start.old_facts("targeted distillation", options.facts)
        )
        self._weights = torch.zeros(len(start.rows))
        self._due = Due(options.refresh)

    def state_dict(self) -> dict[str, Any]:
        """Which rows are chosen."""
        return {"weights": self._weights, "last": self._due.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what was chosen at a checkpoint."""
        self._weights, self._due.last = state["weights"], state["last"]

    def __call__(
        self, numbers: Int[Tensor, " rows"], network: PreTrainedModel, step: int
    ) -> Float[Tensor, " rows"]:
        """1 for rows that are chosen, else 0; what another mitigation adds is not chosen."""
        if self._due(step):
            with evaluating(network):
                score = self._score(network, step)
            count = max(1, round(self._options.budget * len(score)))
            chosen = score.argsort(descending=True, stable=True)[:count]
            self._weights = torch.zeros(len(score))
            self._weights[chosen] = 1
        own = numbers.cpu()
        among = own < len(self._weights)
        return torch.where(among, self._weights[own.where(among, 0)], 0.0)

    def _score(self, network: PreTrainedModel, step: int) -> Float[Tensor, " rows"]:
        start, spend = self._start, self._options.spend
        if self._facts is None:
            return _random(len(start.rows), self._options.seed, step)
        model = Model("student", network, start.model("targeted distillation").tokenizer)
        looked = len(self._facts) + len(start.rows)
        if spend == "overlap":
            start.cost.asked_rows += looked
            return row_overlap(model, self._facts, start)
        start.cost.measured_rows += looked + min(SAMPLE, len(start.rows))
        return row_harm(model, self._facts, start)


class Due:
    """Whether it is time again, at most once a step."""

    def __init__(self, every: int) -> None:
        self._every = every
        self.last: int | None = None
        """The step at which it was."""

    def __call__(self, step: int) -> bool:
        """At the first step asked, and then every so many."""
        if self.last is None or (self._every and step - self.last >= self._every):
            self.last = step
            return True
        return False


def _random(count: int, seed: int, step: int) -> Float[Tensor, " count"]:
    return torch.from_numpy(np.random.default_rng([seed, step]).random(count))
