"""`transformers.Trainer` with the answer-only loss, and room for a mitigation."""

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from interfere.errors import InputError
from interfere.models.head import body, unembed
from interfere.training.mitigation import AddsLoss, ChangesModel, Mitigation, Step
from interfere.training.narrowed_head import narrowed_head
from interfere.training.rows import IGNORED, SeededOrder

Batch = dict[str, Tensor]


class InterferenceTrainer(Trainer):
    """Cross-entropy on labelled tokens, plus what the mitigation adds.

    The cross-entropy is a sum over the optimizer step's labels divided by their number,
    over accumulation and processes; a mitigation's loss is divided by its own number of
    positions. Only positions that one of the two needs go through the unembedding. A
    mitigation that changes the model does so here, before the optimizer is built;
    `evaluate` is of the cross-entropy alone.

    Rows come in an order that only their number, `args.data_seed` (else `args.seed`) and
    the epoch determine. Takes `input_ids`, `attention_mask` and `labels` (-100: no label),
    the labels unshifted as everywhere in transformers.

    Raises:
        InputError: a mitigation that meets no Protocol, or that refuses this model.
    """

    # the loss is divided over accumulation already; the second name is for older releases
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *,
        mitigation: Mitigation | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        **trainer: Any,
    ) -> None:
        """`tokenizer` is only compared with a teacher's; `trainer`: what Trainer takes."""
        if mitigation is not None and not isinstance(mitigation, AddsLoss | ChangesModel):
            raise InputError(
                f"{type(mitigation).__name__} is no mitigation: it has neither `loss` and "
                "`frozen_teacher` nor `change`"
            )
        if isinstance(mitigation, ChangesModel):
            mitigation.change(model)
        super().__init__(model, args, **trainer)
        self.model_accepts_loss_kwargs = True
        args._n_gpu = min(args.n_gpu, 1)  # DataParallel would scatter the positions
        self._adds = mitigation if isinstance(mitigation, AddsLoss) else None
        self._positions: Tensor | int = 0
        self._network = model
        if self._adds is not None:
            self._teacher = self._adds.frozen_teacher(model, tokenizer)
            self._body = body(self._teacher)
            body(model.eval())  # its self-check: `unembed` gives this architecture's logits

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """This batch's share of the step's loss; outputs have logits where labels are."""
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        answer = _predicting(labels)
        with narrowed_head(self._network, answer) as seen:
            outputs = model(**inputs, use_cache=False)
        targets = labels[:, 1:][answer[:, :-1]]
        count = len(targets) if num_items_in_batch is None else num_items_in_batch
        loss = F.cross_entropy(outputs.logits.float(), targets, reduction="sum") / count
        if self._adds is not None and model.training:
            loss = loss + self._added_loss(self._adds, seen[0], answer, inputs)
        # DDP averages over processes, where the counts are of all of them
        loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _added_loss(
        self, adds: AddsLoss, states: Tensor, answer: Tensor, inputs: Batch
    ) -> Tensor:
        kept = answer if adds.positions == "answer" else _unpadded(inputs)
        heads = partial(unembed, self._network), partial(unembed, self._teacher)
        step = Step(*heads, self._positions)
        with self.accelerator.autocast():
            with torch.no_grad():
                teacher = self._body(**inputs, use_cache=False).last_hidden_state
            return adds.loss(states[kept], teacher[kept], step)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor | int | None]:
        """An optimizer step's batches and its number of labels; notes its positions."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        labels = sum(int(_predicting(batch["labels"]).sum()) for batch in batches)
        unpadded = sum(int(_unpadded(batch).sum()) for batch in batches)
        if self.accelerator.num_processes > 1:
            counts = torch.tensor([[labels, unpadded]], device=device)
            labels, unpadded = self.accelerator.gather(counts).sum(0).tolist()
        answers_only = self._adds is not None and self._adds.positions == "answer"
        self._positions = labels if answers_only else unpadded
        return batches, labels

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return SeededOrder(rows, seed)

    def floating_point_ops(self, inputs: Batch) -> int:
        """6 · tokens · parameters without embeddings, which are counted once."""
        return 6 * inputs["input_ids"].numel() * self._parameters

    @cached_property
    def _parameters(self) -> int:
        return int(self._network.num_parameters(exclude_embeddings=True))


def _predicting(labels: Tensor) -> Tensor:
    """Bool `[rows, tokens]`: positions whose next token is labelled."""
    following = labels[:, 1:] != IGNORED
    return F.pad(following, (0, 1))


def _unpadded(batch: Batch) -> Tensor:
    mask = batch.get("attention_mask")
    return (
        torch.ones_like(batch["input_ids"], dtype=torch.bool)
        if mask is None
        else mask.bool()
    )
