"""Rows of tokens side by side: which run together, and how they are padded."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Rows of like length together, at least one a batch; a pure function of the lengths.

    Args:
        lengths: tokens of each row.
        batch_tokens: padded tokens in a batch; one longer row runs alone.

    Yields:
        Indices of rows, the shortest first; rows of one length in their order.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def padded_on_the_left(
    rows: Sequence[Sequence[int]], pad: int = 0
) -> tuple[Int[Tensor, "rows width"], Int[Tensor, "rows width"]]:
    """Token ids, and 1 where they are no padding: every row ends in the last column."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    real = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, real
