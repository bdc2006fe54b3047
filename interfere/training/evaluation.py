"""Ask facts, or do anything else, at chosen steps of a training run."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.answering import ask
from interfere.models.evaluating import evaluating
from interfere.models.model import Model
from interfere.training.cost import Cost

WENT_BACK = "went_back_to"
"""In the trainer's log: the step whose weights took the place of later ones."""

COLUMNS = ["step", "epoch", "set", "fact", "answer", "right", "logprob"]


class AtSteps(TrainerCallback):
    """Calls `function(model, step)` after the optimizer steps named; 0 is before the first.

    The model is the one in training, in evaluation mode for the call: look, don't keep.

    Raises:
        InputError: a negative step, or, as training begins, one that it will not reach.
    """

    def __init__(
        self,
        at_steps: Collection[int],
        function: Callable[[Model, int], object],
        tokenizer: PreTrainedTokenizerBase,
        cost: Cost | None = None,
    ) -> None:
        """`cost`: its seconds stand still meanwhile."""
        if at_steps and min(at_steps) < 0:
            raise InputError(f"step {min(at_steps)} is before training begins; start at 0")
        self._steps, self._function, self._tokenizer = set(at_steps), function, tokenizer
        self._cost = cost or Cost()

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Step 0."""
        if self._steps and max(self._steps) > state.max_steps:
            raise InputError(
                f"step {max(self._steps)} is beyond this training's {state.max_steps} steps"
            )
        self.on_step_end(args, state, control, **kwargs)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """After each optimizer step."""
        if state.global_step in self._steps:
            self._call(kwargs["model"], state)

    def _call(self, network: PreTrainedModel, state: TrainerState) -> None:
        with evaluating(network), self._cost.paused():
            model = Model(f"step {state.global_step}", network, self._tokenizer)
            self._function(model, state.global_step)


class FactEvaluation(AtSteps):
    """Asks each set zero-shot at step 0, at the steps named and at the end of training.

    `table`: a row a step, set and fact; `step` int, `epoch` float, `set`, `fact` (id) and
    `answer` (canonical) str, `right` bool (greedy), `logprob` float (nats; canonical answer
    and its end). Sets named in `paraphrase` are asked in a wording that was not trained,
    too, as the set `NAME, paraphrase`.

    Raises:
        InputError: a paraphrase of a set that is not there; steps as in AtSteps.
    """

    def __init__(
        self,
        sets: Mapping[str, FactSet],
        at_steps: Collection[int],
        tokenizer: PreTrainedTokenizerBase,
        paraphrase: Collection[str] = (),
        cost: Cost | None = None,
    ) -> None:
        super().__init__({0, *at_steps}, self._ask, tokenizer, cost)
        if unknown := sorted(set(paraphrase) - set(sets)):
            raise InputError(
                f"no set {unknown[0]!r} to paraphrase; the sets are {sorted(sets)}"
            )
        self._asked = [(name, facts, False) for name, facts in sets.items() if len(facts)]
        self._asked += [(f"{name}, paraphrase", sets[name], True) for name in paraphrase]
        self._epoch, self._last = 0.0, -1
        self._tables: list[pd.DataFrame] = []

    @property
    def table(self) -> pd.DataFrame:
        """All answers so far."""
        empty = pd.DataFrame(columns=COLUMNS)
        return pd.concat(self._tables, ignore_index=True) if self._tables else empty

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """The last step, unless it was asked already, or its weights were given up."""
        back = [row[WENT_BACK] for row in state.log_history if WENT_BACK in row]
        if back:
            kept = (own[own["step"] <= back[-1]] for own in self._tables)
            self._tables = [own for own in kept if len(own)]
            self._last = -1
        if self._last != state.global_step:
            self._call(kwargs["model"], state)

    def _call(self, network: PreTrainedModel, state: TrainerState) -> None:
        self._epoch, self._last = float(state.epoch or 0.0), state.global_step
        super()._call(network, state)

    def _ask(self, model: Model, step: int) -> None:
        for name, facts, paraphrase in self._asked:
            found = ask_set(model, name, facts, step, paraphrase=paraphrase)
            self._tables.append(found.assign(epoch=self._epoch)[COLUMNS])


def ask_set(
    model: Model, name: str, facts: FactSet, step: int, *, paraphrase: bool = False
) -> pd.DataFrame:
    """A row a fact, as `FactEvaluation.table` has them, without `epoch`."""
    answers = ask(model, facts, paraphrase=paraphrase, sampling=False)
    columns = {
        "step": step,
        "set": name,
        "fact": facts.ids,
        "answer": [fact.answer for fact in facts],
        "right": answers.right,
        "logprob": answers.logprob,
    }
    return pd.DataFrame(columns)
