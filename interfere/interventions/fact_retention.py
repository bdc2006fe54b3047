"""Watch, during anyone's fine-tuning, what the model knew: which facts go, and why."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate.utils import extract_model_from_parallel
from torch.distributed.tensor import DTensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from interfere import cache
from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.questions import question
from interfere.interventions.asking import Questions
from interfere.interventions.fact_watch import Seen, Watch
from interfere.models.evaluating import evaluating
from interfere.models.model import Model
from interfere.training.checkpoints import checkpoint_folder
from interfere.training.owner import calling_trainer, report, resumed_from

logger = logging.getLogger(__name__)

PREFIX = "retention/"


class FactRetentionCallback(TrainerCallback):
    """Asks facts as training goes, by teacher forcing, and says which of them are lost.

    For any `transformers.Trainer`, TRL's among them. Reported through the trainer itself,
    so wherever it reports (console, TensorBoard, W&B, trackio), as shares of facts:

    - `retention/stability`: facts answered right now;
    - `retention/net_loss`: right at the start less right now;
    - `retention/dip`: right at the start, wrong now, and right again when what training
      added to all facts of the relation alike is taken out at one hook: the answer is
      there, misread through a common shift;
    - `retention/erosion`: right at the start, wrong now, and wrong without the common shift;
    - `retention/drift`: mean 1 - cosine of the activation there;
    - `retention/plasticity`: of `new`, where given;
    - `retention/task`: of `trained`, where given.

    A fact is right if greedy decoding gives its canonical answer and ends it; other
    accepted names count as wrong. `history` has a row a check, `flips` a row for each fact
    that changed sides since the check before. The common shift is the mean displacement of
    a relation's other facts at the last token of the question; a relation with one fact has
    none, so its loss is erosion.

    Cost a check: one forward pass of the facts, and one more of those that are lost. Memory
    beside the model's: one vector a fact. Known to fail: a dip by this definition need not
    recover, nor is an eroded fact sure to stay lost; what a shift did at other tokens is not
    taken out; where all facts share one relation and one answer, the common shift is the
    answer's. A checkpoint holds how the facts stood at the start, so that a training that
    resumes counts from there.

    Args:
        facts: what the model knew; any number, right at the start or not.
        new: facts that are being learnt.
        trained: facts that the model knew and is trained on.
        checks: at most how many over the training, evenly; one more before the first step.
        every: optimizer steps between checks, in place of `checks`.
        chat: ask through the tokenizer's chat template.
        hook: where activations are read; None: the middle block's output.
        stop_at_erosion: stop training once so large a share is eroded; None: never. A dip
            never stops it.
        tokenizer: None: the trainer's.
        trainer: None: the one that calls.
        named: flipped facts that are named in the log at a check.
        batch_facts: of one forward pass.

    Raises:
        InputError: no facts, checks, every, named or batch_facts out of range, a share
            outside [0, 1]; when training begins: no tokenizer, an unknown hook, facts that
            can't be asked.

    Source: the common shift of arXiv 2610.08718; matched measures as in arXiv 2604.15574.
    """

    def __init__(
        self,
        facts: FactSet,
        *,
        new: FactSet | None = None,
        trained: FactSet | None = None,
        checks: int = 20,
        every: int | None = None,
        chat: bool = False,
        hook: str | None = None,
        stop_at_erosion: float | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        trainer: Trainer | None = None,
        named: int = 5,
        batch_facts: int = 64,
    ) -> None:
        if not len(facts):
            raise InputError(f"{facts.source}: there are no facts to watch")
        for name, value in {
            "checks": checks,
            "every": every,
            "batch_facts": batch_facts,
        }.items():
            if value is not None and value < 1:
                raise InputError(f"{name} must be 1 or more, got {value}")
        if named < 0:
            raise InputError(f"named must be 0 or more, got {named}")
        if stop_at_erosion is not None and not 0 <= stop_at_erosion <= 1:
            raise InputError(f"stop_at_erosion must be in [0, 1], got {stop_at_erosion}")
        self.facts, self.new, self.trained = facts, new, trained
        self.stopped_at: int | None = None
        """The optimizer step at which erosion stopped the training."""
        self._checks, self._every, self._chat = checks, every, chat
        self._hook, self._limit, self._named = hook, stop_at_erosion, named
        self._tokenizer, self._trainer, self._batch = tokenizer, trainer, batch_facts
        self._watch: Watch | None = None
        self._rows: list[dict[str, float]] = []
        self._flips: list[dict[str, Any]] = []

    @property
    def history(self) -> pd.DataFrame:
        """A row a check: step, epoch, and what was reported, without the prefix."""
        return pd.DataFrame(self._rows)

    @property
    def flips(self) -> pd.DataFrame:
        """A row a change: step, fact, question, answer, change (dip, erosion, back,
        gained)."""
        columns = ["step", "fact", "question", "answer", "change"]
        return pd.DataFrame(self._flips, columns=columns)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Ask everything once: what counts as lost is counted from here."""
        model = self._model(**kwargs)
        self._rows, self._flips, self.stopped_at = [], [], None
        self._watch = Watch.begin(
            model, self.facts, self._batch, chat=self._chat, hook=self._hook
        )
        if state.global_step and self._take_up(self._file(args, state, resumed=True)):
            return
        self._note(model, state, control, self._watch.first_look())

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Put into the checkpoint how the facts stood at the start, and what was seen."""
        self.write_into_checkpoint(args, state)

    def write_into_checkpoint(self, args: TrainingArguments, state: TrainerState) -> None:
        """The same, for a trainer that asks earlier: see `WritesIntoCheckpoint`."""
        if self._watch is None or not state.is_world_process_zero:
            return
        path = self._file(args, state)
        if not path.parent.is_dir():
            return
        seen = {"rows": self._rows, "flips": self._flips, "stopped_at": self.stopped_at}
        with cache.whole_file(path) as draft:
            torch.save(seen | {"watch": self._watch.kept()}, draft)

    def _file(
        self, args: TrainingArguments, state: TrainerState, *, resumed: bool = False
    ) -> Path:
        folder = checkpoint_folder(args.output_dir, state.global_step)
        if resumed:
            folder = resumed_from() or folder
        assert self._watch is not None
        return folder / f"fact_retention-{self.facts.digest}-{self._watch.hook}.pt"

    def _take_up(self, path: Path) -> bool:
        """Go on from a checkpoint, if it says how the facts stood."""
        assert self._watch is not None
        if not path.is_file():
            logger.warning(
                "%s is not there: what counts as lost is counted from this checkpoint on",
                path,
            )
            return False
        seen = torch.load(path, map_location="cpu")
        self._rows, self._flips = seen["rows"], seen["flips"]
        self.stopped_at = seen["stopped_at"]
        self._watch.take_up(seen["watch"])
        return True

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look, if a check is due."""
        apart = self._every or -(-state.max_steps // self._checks)
        if self.stopped_at is not None:  # a training that resumes from where it stopped
            control.should_training_stop = True
        if self._watch is None or (
            state.global_step % apart and state.global_step != state.max_steps
        ):
            return
        model = self._model(**kwargs)
        seen = self._watch.look(model)
        self._note(model, state, control, seen)
        if self._limit is not None and seen.erosion > self._limit:
            self.stopped_at = state.global_step
            logger.warning(
                "stopped at step %d: %.1f %% of the facts are eroded, above the %.1f %% that "
                "stop_at_erosion allows",
                state.global_step,
                100 * seen.erosion,
                100 * self._limit,
            )
            control.should_training_stop = True

    def _note(
        self, model: Model, state: TrainerState, control: TrainerControl, seen: Seen
    ) -> None:
        assert self._watch is not None
        numbers = {
            "stability": float(seen.right.mean()),
            "net_loss": float(self._watch.right.mean() - seen.right.mean()),
            "dip": seen.dip,
            "erosion": seen.erosion,
            "drift": seen.drift,
        }
        for name, others in {"plasticity": self.new, "task": self.trained}.items():
            if others is not None and len(others):
                numbers[name] = self._share_right(model, others)
        self._rows.append(
            {"step": state.global_step, "epoch": state.epoch or 0.0, **numbers}
        )
        self._flip(state.global_step, seen)
        trainer = self._trainer or calling_trainer()
        if trainer is not None:
            report(trainer, {PREFIX + k: v for k, v in numbers.items()}, control)

    def _flip(self, step: int, seen: Seen) -> None:
        assert self._watch is not None
        before, now = self._watch.state, seen.state
        changed = np.flatnonzero(before != now) if self._rows[1:] else np.empty(0, int)
        rows = [
            {
                "step": step,
                "fact": self.facts[int(i)].id,
                "question": question(self.facts[int(i)]),
                "answer": self.facts[int(i)].answer,
                "change": _change(before[i], now[i]),
            }
            for i in changed
            if now[i] != "unknown"
        ]
        self._flips += rows
        self._watch.state = now
        for row in rows[: self._named]:
            logger.info(
                "step %d: %s %s (%s)", step, row["question"], row["answer"], row["change"]
            )
        if len(rows) > self._named:
            logger.info("step %d: %d facts more in `flips`", step, len(rows) - self._named)

    def _share_right(self, model: Model, facts: FactSet) -> float:
        questions = Questions(model, facts, self._batch, chat=self._chat)
        with evaluating(model.network), torch.inference_mode():
            right = [questions.score(model, rows).right for rows in questions.batches]
        return float(np.concatenate(right).mean())

    def _model(self, **given: Any) -> Model:
        network = extract_model_from_parallel(given["model"])
        # An adapter's layers are in the model that it was put into.
        if hasattr(network, "get_base_model"):
            network = network.get_base_model()
        assert isinstance(network, PreTrainedModel)
        if any(isinstance(parameter, DTensor) for parameter in network.parameters()):
            raise InputError(
                "FactRetentionCallback asks the model between steps, which a sharded model "
                "(FSDP) doesn't allow; train it with DDP, or ask its checkpoints afterwards"
            )
        tokenizer = self._tokenizer or given.get("processing_class")
        if tokenizer is None:  # InterferenceTrainer may know one that Trainer doesn't
            owner = self._trainer or calling_trainer()
            tokenizer = getattr(owner, "fact_tokenizer", None)
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise InputError(
                "FactRetentionCallback needs a tokenizer: give it one, or give the trainer "
                "a processing_class"
            )
        return Model("being trained", network, tokenizer)


def _change(before: str, now: str) -> str:
    if now != "right":
        return now
    return "gained" if before == "unknown" else "back"
