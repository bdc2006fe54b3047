"""How watched facts stood when training began, and what a later look finds of them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interfere.facts.fact import FactSet
from interfere.interventions.asking import Questions, ask_patched, look
from interfere.measures.common_shift import common_shift
from interfere.measures.drift import drift
from interfere.models import hooks as hooking
from interfere.models.evaluating import evaluating
from interfere.models.model import Model
from interfere.models.patching import Patch

POSITION = "prompt_last"


@dataclass(frozen=True)
class Seen:
    """What one check found; entry i is fact i."""

    right: Bool[np.ndarray, " facts"]
    state: np.ndarray
    """right, dip, erosion, or unknown: wrong now and at the start."""
    drift: float

    @property
    def dip(self) -> float:
        """Share of all facts that are lost to the common shift."""
        return float((self.state == "dip").mean())

    @property
    def erosion(self) -> float:
        """Share of all facts that are lost without it, too."""
        return float((self.state == "erosion").mean())


@dataclass
class Watch:
    """How facts stood at the start, and what every later look is compared with."""

    questions: Questions
    hook: str
    right: Bool[np.ndarray, " facts"]
    states: Float[Tensor, "facts d"]
    relations: list[str]
    alone: Bool[np.ndarray, " facts"]
    """The only fact of its relation."""
    state: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.state = np.where(self.right, "right", "unknown").astype(object)

    @classmethod
    def begin(
        cls, model: Model, facts: FactSet, batch: int, *, chat: bool, hook: str | None
    ) -> "Watch":
        """Ask the facts for the first time.

        Raises:
            InputError: an unknown hook, or facts that can't be asked.
        """
        (name,) = hooking.resolve(
            model.network, hook or f"blocks.{model.layers // 2}.hook_out"
        )
        questions = Questions(model, facts, batch, chat=chat)
        right, states = _ask(model, questions, name)
        relations = [fact.relation for fact in facts]
        count = Counter(relations)
        alone = np.array([count[relation] == 1 for relation in relations])
        return cls(questions, name, right, states, relations, alone)

    def kept(self) -> dict[str, Any]:
        """What every later look is compared with, for a checkpoint."""
        return {
            "right": torch.from_numpy(self.right),
            "states": self.states,
            "state": self.state.tolist(),
        }

    def take_up(self, kept: dict[str, Any]) -> None:
        """Compare with what `kept` gave."""
        self.right, self.states = kept["right"].numpy(), kept["states"]
        self.state = np.array(kept["state"], dtype=object)

    def first_look(self) -> Seen:
        """What the first asking found."""
        return Seen(self.right, self.state, 0.0)

    def look(self, model: Model) -> Seen:
        """Ask again; the lost are asked once more without the common shift."""
        right, states = _ask(model, self.questions, self.hook)
        moved = drift(self.states, states).drift
        lost = self.right & ~right
        found = np.where(right, "right", "unknown").astype(object)
        found[lost] = "erosion"
        if (tried := lost & ~self.alone).any():
            shift = common_shift((states - self.states).double().numpy(), self.relations)
            back = self._without(
                model, np.flatnonzero(tried), states.double().numpy() - shift
            )
            found[back] = "dip"
        return Seen(right, found, float(moved.mean()))

    def _without(self, model: Model, facts: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Those of the facts that are answered right when they are shown these values."""
        size = max(map(len, self.questions.batches))
        back: list[int] = []
        with evaluating(model.network), torch.inference_mode():
            for begin in range(0, len(facts), size):
                rows = facts[begin : begin + size].tolist()
                where = self.questions.places(rows, POSITION)
                put = Patch(*where, torch.from_numpy(values[rows]).float())
                scores = ask_patched(model, self.questions, rows, {self.hook: put})
                back += [
                    row for row, right in zip(rows, scores.right, strict=True) if right
                ]
        return np.array(back, dtype=int)


def _ask(
    model: Model, questions: Questions, hook: str
) -> tuple[Bool[np.ndarray, " facts"], Float[Tensor, "facts d"]]:
    """One pass: who is right, and the activations on the host, in the facts' order."""
    count = len(questions.facts)
    right = np.zeros(count, dtype=bool)
    states: Tensor | None = None
    with evaluating(model.network), torch.inference_mode():
        for rows in questions.batches:
            scores, seen = look(model, questions, rows, [hook], [POSITION])
            values = seen[hook, POSITION].float().cpu()
            if states is None:
                states = values.new_empty(count, values.shape[-1])
            right[rows], states[rows] = scores.right, values
    assert states is not None
    return right, states
