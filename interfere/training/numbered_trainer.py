"""`transformers.Trainer` over rows that know their number, in an order that seeds determine."""

import inspect
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import (
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from interfere.errors import InputError
from interfere.training.mitigation import AddedRows
from interfere.training.numbered import NUMBER, NumberedCollator, NumberedRows
from interfere.training.order import BesideOrder, beside, last_order
from interfere.training.rows import Row, SeededOrder

Batch = dict[str, Tensor]


class NumberedTrainer(Trainer):
    """Puts each row's number into its batch, and a mitigation's rows among the caller's.

    Rows come in an order that only their number, `args.data_seed` (else `args.seed`) and
    the epoch determine; added ones beside the caller's own in each batch, at the end, or
    shuffled in.
    """

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        *,
        added: AddedRows | None,
        chooses: bool,
        **trainer: Any,
    ) -> None:
        """What Trainer takes, and what comes beside.

        Args:
            model: trained in place.
            args: of the training.
            added: rows of a mitigation's own.
            chooses: whether rows are weighed by their number.
            **trainer: what else Trainer takes.

        Raises:
            InputError: rows to choose from or to add to that have no length.
        """
        self._added = added
        rows = trainer.get("train_dataset")
        if is_sized(rows):
            trainer = _numbered(rows, added, trainer)
        elif added or chooses:
            raise InputError(
                "this mitigation chooses among rows or adds some: give a train_dataset "
                "that has a length"
            )
        super().__init__(model, args, **trainer)

    def _set_signature_columns_if_needed(self) -> None:
        """Trainer's: columns that are not dropped, the rows' numbers among them."""
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        if NUMBER not in columns:
            columns.append(NUMBER)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Trainer's, of batches with room for added rows."""
        own = self._train_batch_size
        self._train_batch_size = own + self._beside
        try:
            loader = super().get_train_dataloader()
        finally:
            self._train_batch_size = own
        # Of several processes: accelerate's set_epoch reaches a sampler two deep, and skipping
        # a resumed epoch's batches puts a third sampler around. It would get the first order.
        batches: Any = loader.batch_sampler
        inner: Any = getattr(batches, "batch_sampler", None)
        if hasattr(inner, "sampler"):
            batches.sampler = inner.sampler
        return loader

    @property
    def _beside(self) -> int:
        """Added rows a batch."""
        if self._added is None or self._added.last:
            return 0
        return beside(self._added.ratio, self.args.train_batch_size)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        if not is_sized(rows):
            return None
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        if self._added is None or not len(self._added.rows):
            return SeededOrder(rows, seed)
        own, batch = len(rows) - len(self._added.rows), self.args.train_batch_size
        if self._added.last is None:
            return BesideOrder(own, len(self._added.rows), batch, self._beside, seed)
        return last_order(
            own,
            len(self._added.rows),
            a_step=batch
            * self.accelerator.num_processes
            * self.args.gradient_accumulation_steps,
            steps=self.args.max_steps,
            epochs=self.args.num_train_epochs,
            seed=seed,
            at_end=self._added.last == "end",
        )

    def _made_again(self, batch: Batch) -> Batch:
        """Of the rows as they are now: a loader is a batch ahead, its processes further."""
        rows = cast(NumberedRows, self.train_dataset)
        collate = self._get_collator_with_removed_columns(self.data_collator)
        made = collate([rows[number] for number in batch[NUMBER].tolist()])
        return {name: values.to(batch[NUMBER].device) for name, values in made.items()}

    def _count_added(self, batch: Batch) -> int:
        """Rows of the batch that a mitigation added."""
        if not self._added or NUMBER not in batch:
            return 0
        own = len(cast(NumberedRows, self.train_dataset)) - len(self._added.rows)
        return int((batch[NUMBER] >= own).sum())


def _numbered(
    rows: Any, added: AddedRows | None, trainer: dict[str, Any]
) -> dict[str, Any]:
    """What Trainer takes, with rows that know their number."""
    collate = trainer.get("data_collator") or default_data_collator
    if tokenizer := trainer.get("processing_class"):
        collate = trainer.get("data_collator") or DataCollatorForSeq2Seq(tokenizer)
    return trainer | {
        "train_dataset": NumberedRows(rows, added.rows if added else ()),
        "data_collator": NumberedCollator(collate),
    }


def collator(
    model: nn.Module, args: TrainingArguments, trainer: dict[str, Any]
) -> Callable[[list[Row]], Batch]:
    """Rows to a batch as training makes them, of the columns that the model takes."""
    collate = trainer.get("data_collator")
    if collate is None and (tokenizer := trainer.get("processing_class")):
        collate = DataCollatorForSeq2Seq(tokenizer)
    if collate is None:
        return _no_collator
    named = {*inspect.signature(model.forward).parameters, "label", "label_ids", "labels"}
    known = named if args.remove_unused_columns else None

    def known_columns(rows: list[Row]) -> Batch:
        kept = [
            {k: v for k, v in row.items() if known is None or k in known} for row in rows
        ]
        return dict(collate(kept))

    return known_columns


def _no_collator(rows: list[Row]) -> Batch:
    raise InputError("this mitigation makes batches of its own: give a data_collator")


def is_sized(rows: Any) -> bool:
    """Whether rows can be numbered: a length, and each at its place."""
    return hasattr(rows, "__len__") and hasattr(rows, "__getitem__")
