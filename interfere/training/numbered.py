"""Training rows that know their number, whatever dataset and collator they come from."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from interfere.training.rows import Rows

NUMBER = "row_number"
"""Of a row among those trained on; added ones follow."""


class NumberedRows(Dataset[dict[str, Any]]):
    """The rows of a dataset, then those that a mitigation adds."""

    def __init__(self, rows: Any, added: Rows = ()) -> None:
        self._rows, self._added = rows, added

    def __len__(self) -> int:
        return len(self._rows) + len(self._added)

    def __getitem__(self, number: int) -> dict[str, Any]:
        own = number < len(self._rows)
        row = self._rows[number] if own else self._added[number - len(self._rows)]
        return dict(row) | {NUMBER: number}


class NumberedCollator:
    """Any collator, with the rows' numbers as int64 `[rows]` beside what it makes."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collate = collate

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The batch."""
        numbers = [row[NUMBER] for row in rows if NUMBER in row]
        plain = [{k: v for k, v in row.items() if k != NUMBER} for row in rows]
        batch = dict(self._collate(plain))
        if len(numbers) == len(rows):
            found: Tensor = torch.tensor(numbers)
            batch[NUMBER] = found
        return batch
