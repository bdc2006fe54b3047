"""`NumberedTrainer` whose checkpoints are whole, finite, and hold what mitigations must know."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.trainer_utils import TrainOutput

from interfere.errors import InputError
from interfere.models.evaluating import evaluating
from interfere.training.checkpoints import (
    Resumes,
    WritesIntoCheckpoint,
    checkpoint_folder,
    last_whole,
    mark_whole,
    read_states,
    to_resume,
    write_states,
)
from interfere.training.lora import LoRA, adapter_state, merged_state
from interfere.training.mitigation import Mitigation
from interfere.training.narrowed_head import narrowed_head
from interfere.training.numbered_trainer import NumberedTrainer
from interfere.training.positions import predicting

ADAPTERS = "adapters.pt"
"""What training goes on from where the weights beside it are merged."""


class CheckpointedTrainer(NumberedTrainer):
    """Saves models that load as they are, adapters merged, and resumes from them exactly."""

    _network: PreTrainedModel
    _mitigations: tuple[Mitigation, ...]
    _resumed: Sequence[Resumes]
    _began_from: str | None
    _last: dict[str, Tensor]
    """The batch that was trained on last."""

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Trainer's; `True` goes on from the last checkpoint that was written whole.

        Without one it begins anew. Make the trainer as it was made before, of the model that
        training started from, not of the checkpoint's: teachers and anchors are made from it.

        Raises:
            InputError: the checkpoint is of a training with other mitigations or from another
                model, or this trainer has trained already and its mitigations can't begin again.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = to_resume(self.args.output_dir)
        if self._resumed and self.state.global_step:
            raise InputError(
                "this trainer has trained, and its mitigations are where that left them; "
                "make a new one from the model that training starts from"
            )
        if isinstance(resume_from_checkpoint, str | Path):
            folder = Path(resume_from_checkpoint)
            read_states(folder, self._mitigations, self._resumed, self._began_from)
        return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

    def _save_checkpoint(self, *arguments: Any, **named: Any) -> None:
        """Trainer's; says when all of it is there, for a kill may come at any moment.

        Weights with which the last batch's loss is not finite are not saved, and no good
        checkpoint makes room for them.
        """
        if not math.isfinite(self._loss_of_last()):
            raise InputError(
                f"after step {self.state.global_step} the loss is no longer finite"
                f"{self._way_out()}"
            )
        folder = checkpoint_folder(self.args.output_dir, self.state.global_step)
        if self.args.should_save:  # before Trainer, which takes older ones away at its end
            write_states(folder, self._mitigations, self._resumed, self._began_from)
            for callback in self.callback_handler.callbacks:
                if isinstance(
                    callback, WritesIntoCheckpoint
                ):  # `on_save` comes after the whole mark
                    callback.write_into_checkpoint(self.args, self.state)
            if self._adapted and not self.is_fsdp_enabled:
                torch.save(adapter_state(self._network), folder / ADAPTERS)
        super()._save_checkpoint(*arguments, **named)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_whole(folder)

    def _loss_of_last(self) -> float:
        """The last batch's cross-entropy, of the weights as they are now."""
        inputs = dict(self._last)
        labels = inputs.pop("labels")
        answer = predicting(labels)
        network = self._network
        with (
            evaluating(network),
            torch.no_grad(),
            self.accelerator.autocast(),
            narrowed_head(network, answer),
        ):
            # what wraps the network holds its shards, where it is sharded
            logits = self.model_wrapped(**inputs, use_cache=False).logits
        targets = labels[:, 1:][answer[:, :-1]]
        return float(F.cross_entropy(logits.float(), targets, reduction="sum"))

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        """Trainer's; adapters that a mitigation put in are merged in what is written."""
        if self._adapted and self.args.should_save:
            held = self._network.state_dict() if state_dict is None else state_dict
            state_dict = merged_state(self._network, held)
        super()._save(output_dir, state_dict)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        """Trainer's; adapters from their own file, since the weights beside it are merged."""
        file = Path(resume_from_checkpoint) / ADAPTERS
        if not self._adapted or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        elif not file.is_file():
            raise InputError(f"{file} is not there; resume from another checkpoint")
        else:
            self._network.load_state_dict(
                torch.load(file, map_location="cpu"), strict=False
            )

    def _load_best_model(self) -> None:
        if self._adapted and self.state.best_model_checkpoint:
            self._load_from_checkpoint(self.state.best_model_checkpoint)
        else:
            super()._load_best_model()

    @property
    def _adapted(self) -> bool:
        return any(isinstance(one, LoRA) for one in self._mitigations)

    def _way_out(self) -> str:
        last = last_whole(self.args.output_dir)
        kept = f"; {last} is the last checkpoint, and intact" if last else ""
        return f"; lower the learning rate of {self.args.learning_rate:g}{kept}"
