"""`transformers.Trainer` with the answer-only loss, and room for mitigations."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, TrainingArguments

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.head import body, plain_weight, unembed
from interfere.models.model import Model
from interfere.training.cached_teacher import CachedTeacher
from interfere.training.checkpointed_trainer import CheckpointedTrainer
from interfere.training.cost import Cost
from interfere.training.fingerprint import fingerprint
from interfere.training.mitigation import (
    AddsLoss,
    Mitigation,
    Start,
    Step,
    as_mitigations,
)
from interfere.training.narrowed_head import narrowed_head
from interfere.training.numbered import NUMBER
from interfere.training.numbered_trainer import collator, is_sized
from interfere.training.parts import prepare
from interfere.training.placing import place, plain_network
from interfere.training.positions import predicting, unpadded
from interfere.training.rows import Rows
from interfere.training.sharded import refuse_sharded
from interfere.training.teacher import CountedTeacher, Frozen, Teacher

Batch = dict[str, Tensor]

WEIGHTS = "row_weights"
"""How much the added loss counts each row of a batch."""


class InterferenceTrainer(CheckpointedTrainer):
    """Cross-entropy on labelled tokens, plus what the mitigations add.

    The cross-entropy is a sum over the optimizer step's labels divided by their number,
    over accumulation and processes; a mitigation's loss is divided by its own number of
    positions. Only positions that one of the two needs go through the unembedding. A
    mitigation that changes the model does so here, before the optimizer is built;
    `evaluate` is of the cross-entropy alone.

    The order of rows is `NumberedTrainer`'s. Takes `input_ids`, `attention_mask` and
    `labels` (-100: no label), the labels unshifted as everywhere in transformers.

    Raises:
        InputError: another loss asked for; a mitigation that meets no Protocol, that refuses
            this model or lacks what it needs; as it trains, a loss that is not finite (step
            and rows named).
    """

    # the loss is divided over accumulation already; the second name is for older releases
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        *,
        mitigation: Mitigation | Sequence[Mitigation] | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        known_rows: Sequence[int] | None = None,
        old_facts: FactSet | None = None,
        base: Model | None = None,
        cost: Cost | None = None,
        **trainer: Any,
    ) -> None:
        """What Trainer takes, and what mitigations may need.

        Args:
            model: a PreTrainedModel, or what peft made of one; trained in place.
            args: of the training.
            mitigation: one or several.
            tokenizer: the model's; None: `processing_class`, where that is given.
            known_rows: numbers of the training rows whose facts the model knew before.
            old_facts: facts that it knows and that a mitigation may spend.
            base: the model before it learnt the format.
            cost: what it takes is counted there.
            **trainer: what else Trainer takes.
        """
        if trainer.get("compute_loss_func") or args.label_smoothing_factor:
            raise InputError(
                "InterferenceTrainer computes its own loss: leave out compute_loss_func and "
                "label_smoothing_factor"
            )
        found = as_mitigations(mitigation)
        # what peft wraps around the network is Trainer's business
        self._network = network = plain_network(model)
        self._cost = cost or Cost()
        if found:
            place(network, args)
        # other ranks may hold placeholders until accelerate shards the first one's weights
        first = args.process_index == 0
        self._began_from = fingerprint(network) if found and first else None
        self.fact_tokenizer = tokenizer or trainer.get("processing_class")
        start = Start(
            network,
            self.fact_tokenizer,
            trainer["train_dataset"] if is_sized(trainer.get("train_dataset")) else (),
            known_rows,
            old_facts,
            base,
            args.seed if args.data_seed is None else args.data_seed,
            collator(network, args, trainer),
            args,
            self._cost,
        )
        parts = prepare(found, start)
        self._adds, self._spend = parts.adds, parts.spend
        self._penalties, self._resumed = parts.penalties, parts.resumed
        self._mitigations = found
        self._gradient_changes = parts.gradient_changes
        # before the caller's, which then see what these leave
        trainer["callbacks"] = [*parts.callbacks, *(trainer.get("callbacks") or ())]
        chooses = parts.spend is not None
        super().__init__(model, args, added=parts.added, chooses=chooses, **trainer)
        refuse_sharded(self.accelerator, found, self._added, parts.teacher)
        self.model_accepts_loss_kwargs = True
        args._n_gpu = min(args.n_gpu, 1)  # DataParallel would scatter the positions
        self._weight: Tensor | float = 0
        self._whole_logits = False
        self._teacher = self._ready(parts.teacher, start)

    def _ready(self, teacher: Teacher | None, start: Start) -> Teacher | None:
        """The teacher where the student is, its states computed where they are kept."""
        if teacher is None or self._adds is None:
            return None
        if isinstance(teacher, Frozen):
            teacher.network.to(self.args.device)  # type: ignore[arg-type]
        body(self._network.eval())  # its self-check: `unembed` gives its logits
        if not self._adds.cached:
            return CountedTeacher(teacher, self._cost)
        cached = CachedTeacher(CountedTeacher(teacher, self._cost))
        if self._spend is None and len(start.rows):
            with self.accelerator.autocast():
                cached.fill(
                    cast(Rows, self.train_dataset),
                    self._get_collator_with_removed_columns(self.data_collator),
                    self._kept,
                    self.args.device,
                )
        if cached.bytes and isinstance(teacher, Frozen):
            teacher.park()
        return cached

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """This batch's share of the step's loss; outputs have logits where labels are.

        Raises:
            InputError: it is not finite.
        """
        inputs = dict(inputs)
        labels, numbers = inputs.pop("labels"), inputs.pop(NUMBER, None)
        weights = inputs.pop(WEIGHTS, None)
        answer = predicting(labels)
        targets = labels[:, 1:][answer[:, :-1]]
        if self._whole_logits:
            outputs = model(**inputs, use_cache=False)
            logits, seen = outputs.logits[answer], []
        else:
            with narrowed_head(self._network, answer) as seen:
                outputs = model(**inputs, use_cache=False)
            logits = outputs.logits
        count = len(targets) if num_items_in_batch is None else num_items_in_batch
        summed = F.cross_entropy(logits.float(), targets, reduction="sum")
        loss = summed / max(int(count), 1)
        if self._adds is not None and self._teacher is not None and model.training:
            kept = self._kept(inputs | {"labels": labels})
            if weights is not None:
                kept = kept & (weights > 0)[:, None]
            if kept.any():
                loss = loss + self._added_loss(
                    self._adds, self._teacher, seen[0], kept, weights, inputs
                )
        # DDP averages over processes, where the counts are of all of them
        if model.training or self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        if model.training:
            self._last = inputs | {"labels": labels}
            for penalty in self._penalties:
                parts = self.current_gradient_accumulation_steps
                loss = loss + penalty(self._network) / parts
            if not torch.isfinite(loss):
                self._refuse(logits, targets, answer, numbers)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: Batch,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Any]:
        """Trainer's; logits at every position where they are asked for, not the loss alone."""
        self._whole_logits = not prediction_loss_only
        try:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        finally:
            self._whole_logits = False

    def _added_loss(
        self,
        adds: AddsLoss,
        teacher: Teacher,
        states: Float[Tensor, "rows tokens d"],
        kept: Bool[Tensor, "rows tokens"],
        weights: Float[Tensor, " rows"] | None,
        inputs: Batch,
    ) -> Tensor:
        head = cast(nn.Module, self._network.get_output_embeddings())  # type: ignore[no-untyped-call]
        step = Step(
            partial(unembed, self._network),
            teacher.head,
            self._weight,
            None if weights is None else weights[:, None].expand(kept.shape)[kept],
            tuple(p for p in head.parameters() if p.requires_grad),
            plain_weight(self._network),
        )
        with self.accelerator.autocast():
            return adds.loss(states[kept], teacher.states(inputs, kept), step)

    def training_step(self, *arguments: Any, **named: Any) -> Tensor:
        """Trainer's, then what changes the gradient before it is clipped."""
        loss = super().training_step(*arguments, **named)
        if self.accelerator.sync_gradients:
            for change in self._gradient_changes:
                change(self._network, self.state.global_step)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Trainer's; a gradient that is not finite is refused before it is used."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        if norm is not None and not math.isfinite(norm) and not self.args.fp16:
            raise InputError(
                f"the gradient became {norm} at step {self.state.global_step + 1}, where the "
                f"loss was finite{self._way_out()}"
            )
        return norm

    def _refuse(
        self,
        logits: Float[Tensor, "kept v"],
        targets: Tensor,
        answer: Bool[Tensor, "rows tokens"],
        numbers: Tensor | None,
    ) -> None:
        each = F.cross_entropy(logits.detach().float(), targets, reduction="none")
        bad = answer.nonzero()[~each.isfinite(), 0].unique().tolist()
        if not bad:
            where = "in what the mitigation adds"
        elif numbers is None:
            where = f"in row {bad[0]} of its batch"
        else:
            where = f"in training row {int(numbers[bad[0]])}"
        raise InputError(
            f"the loss is no longer finite at step {self.state.global_step + 1}, {where}"
            f"{self._way_out()}"
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor | int | None]:
        """An optimizer step's batches and its number of labels; notes its positions."""
        if self._added is not None and self._added.refresh is not None:
            self._added.refresh(self._network, self.state.global_step)
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        if self._added is not None and self._added.refresh is not None:
            batches = [self._made_again(batch) for batch in batches]
        labels = sum(int(predicting(batch["labels"]).sum()) for batch in batches)
        weight = sum(self._weigh(batch) for batch in batches) if self._adds else 0.0
        for batch in batches:
            self._count(batch)
        if self.accelerator.num_processes > 1:
            counts = torch.tensor([[labels, weight]], device=device, dtype=torch.float64)
            total = self.accelerator.gather(counts).sum(0).tolist()
            labels, weight = int(total[0]), total[1]
        self._weight = weight
        return batches, labels

    def _weigh(self, batch: Batch) -> float:
        """The weight of the batch's positions; notes the rows' own in the batch."""
        kept = self._kept(batch)
        if self._spend is None:
            return float(kept.sum())
        weights = self._spend(batch[NUMBER], self._network, self.state.global_step)
        batch[WEIGHTS] = weights.to(kept.device)
        return float((kept.sum(1) * batch[WEIGHTS]).sum())

    def _kept(self, batch: Batch) -> Bool[Tensor, "rows tokens"]:
        """Where the added loss is."""
        if self._adds is not None and self._adds.positions == "answer":
            return predicting(batch["labels"])
        return unpadded(batch)

    def _count(self, batch: Batch) -> None:
        self._cost.rows += len(batch["input_ids"])
        self._cost.added_rows += self._count_added(batch)

    def floating_point_ops(self, inputs: Batch) -> int:
        """6 · tokens · parameters without embeddings, which are counted once."""
        return 6 * inputs["input_ids"].numel() * self._parameters

    @cached_property
    def _parameters(self) -> int:
        return int(self._network.num_parameters(exclude_embeddings=True))
