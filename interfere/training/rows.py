"""Facts as tokenised training rows, and the order in which training sees them."""

from collections.abc import Iterator, Sequence, Sized
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.questions import prompt, target
from interfere.models.encoding import encode_continuations, encode_prompts

IGNORED = -100
"""The label of a token that is not trained on."""

Row = dict[str, list[int]]


@runtime_checkable
class Rows(Protocol):
    """Rows by number: a list, or any dataset that has a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: Any, /) -> Any: ...


class FactRows(Dataset[Row]):
    """Row i is fact i: `input_ids` of prompt, answer and end; `labels` on the last two.

    Raises:
        InputError: no facts, or a row longer than `longest` tokens.
    """

    def __init__(
        self, facts: FactSet, tokenizer: PreTrainedTokenizerBase, longest: int | None = None
    ) -> None:
        if not len(facts):
            raise InputError(f"{facts.source}: no facts to train on")
        prompts = [prompt(fact) for fact in facts]
        heads = encode_prompts(tokenizer, prompts)
        tails = encode_continuations(tokenizer, prompts, [target(f.answer) for f in facts])
        self._rows = [
            {"input_ids": head + tail, "labels": [IGNORED] * len(head) + tail}
            for head, tail in zip(heads, tails, strict=True)
        ]
        for fact, row in zip(facts, self._rows, strict=True):
            if longest is not None and len(row["input_ids"]) > longest:
                raise InputError(
                    f"{facts.source}: the question about {fact.subject[:40]!r} and its "
                    f"answer take {len(row['input_ids'])} tokens, the model has room for "
                    f"{longest}"
                )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]


def prompt_rows(
    background: FactSet | Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[Row]:
    """Questions without answers, or texts as they are: rows of which no token is a label.

    Raises:
        InputError: a text without a token.
    """
    if isinstance(background, FactSet):
        found = encode_prompts(tokenizer, [prompt(fact) for fact in background])
    else:
        found = encode_prompts(tokenizer, list(background))
    for i, ids in enumerate(found):
        if not ids:
            raise InputError(f"background text {i} is empty")
    return [{"input_ids": ids, "labels": [IGNORED] * len(ids)} for ids in found]


def collate(rows: Sequence[Row], pad: int = 0) -> dict[str, Tensor]:
    """`input_ids`, `attention_mask`, `labels`: int64 `[rows, tokens]`, right-padded."""
    shape = len(rows), max(len(row["input_ids"]) for row in rows)
    ids, labels = np.full(shape, pad), np.full(shape, IGNORED)
    mask = np.zeros(shape, dtype=np.int64)
    for i, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[i, :length], labels[i, :length], mask[i, :length] = (
            row["input_ids"],
            row["labels"],
            1,
        )
    named = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.from_numpy(values) for name, values in named.items()}


class SeededOrder(Sampler[int]):
    """A permutation of row numbers that only row count, seed and epoch determine.

    So every arm with as many rows sees row i at the same moment.
    """

    def __init__(self, rows: Sized, seed: int) -> None:
        self._rows, self._seed, self._epoch = len(rows), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._rows)
        return iter(order.tolist())

    def __len__(self) -> int:
        return self._rows
