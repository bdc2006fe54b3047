"""The order of rows where a mitigation adds some."""

import math
import warnings
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from interfere.errors import InputError
from interfere.training.rows import SeededOrder

TOLERATED = 0.1
"""Of a ratio: how far whole rows a batch may be from it before a warning."""


class BesideOrder(Sampler[int]):
    """Each batch's own rows in their seeded order, then its share of added ones.

    So the rows trained on come at the same moments as without. Added rows are numbered
    after them and come in permutations of their own, each of them once before any comes
    again. A batch is `batch + beside` rows; an epoch's last may be smaller.
    """

    def __init__(self, rows: int, added: int, batch: int, beside: int, seed: int) -> None:
        self._own = SeededOrder(range(rows), seed)
        self._rows, self._added = rows, added
        self._batch, self._beside, self._seed = batch, beside, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self._epoch = epoch
        self._own.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        own = list(self._own)
        total = sum(self._share(start) for start in range(0, self._rows, self._batch))
        extra = self._stream(self._epoch * total, total)
        for start in range(0, self._rows, self._batch):
            yield from own[start : start + self._batch]
            for _ in range(self._share(start)):
                yield next(extra)

    def __len__(self) -> int:
        starts = range(0, self._rows, self._batch)
        return self._rows + sum(self._share(start) for start in starts)

    def _share(self, start: int) -> int:
        size = min(self._batch, self._rows - start)
        return -(-self._beside * size // self._batch)

    def _stream(self, first: int, count: int) -> Iterator[int]:
        place = first
        while place < first + count:
            turn, offset = divmod(place, self._added)
            order = np.random.default_rng([self._seed, turn, 1]).permutation(self._added)
            for number in order[offset:].tolist():
                yield self._rows + number
            place += self._added - offset


class LastOrder(Sampler[int]):
    """Added rows once, in the last epoch, in place of as many of its rows.

    `end`: after all others; `shuffled`: at random among them. The rows that they stand for
    are the same either way, and both ways take the steps of a training without.
    """

    def __init__(
        self, rows: int, added: int, *, epoch: int, used: int, seed: int, at_end: bool
    ) -> None:
        """`epoch`, `used`: the last epoch's number, and how many rows of it are trained on.

        Raises:
            InputError: more rows added than the last epoch trains on.
        """
        if added > used:
            raise InputError(
                f"{added} rows can't stand for some of the last epoch's {used}; add fewer"
            )
        self._own = SeededOrder(range(rows), seed)
        self._rows, self._added, self._seed = rows, added, seed
        self._last, self._used = epoch, used
        self._at_end, self._epoch = at_end, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self._epoch = epoch
        self._own.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        order = np.array(list(self._own))
        if self._epoch == self._last:
            random = np.random.default_rng([self._seed, self._epoch, 2])
            added = self._rows + random.permutation(self._added)
            order[self._used - self._added : self._used] = added
            if not self._at_end:
                order[: self._used] = random.permutation(order[: self._used])
        return iter(order.tolist())

    def __len__(self) -> int:
        return self._rows


def last_order(
    rows: int,
    added: int,
    *,
    a_step: int,
    steps: int,
    epochs: float,
    seed: int,
    at_end: bool,
) -> LastOrder:
    """The order of a training of so many optimizer steps, or of epochs where `steps` is < 1.

    Args:
        rows: trained on.
        added: rows in place of as many in the last epoch.
        a_step: rows of an optimizer step.
        steps: optimizer steps.
        epochs: passes over the rows.
        seed: of the order.
        at_end: after all others, or at random among them.

    Raises:
        InputError: as in `LastOrder`.
    """
    an_epoch = math.ceil(rows / a_step)
    if steps <= 0:
        steps = math.ceil(epochs * an_epoch)
    epoch = (steps - 1) // an_epoch
    used = min(rows, (steps - epoch * an_epoch) * a_step)
    return LastOrder(rows, added, epoch=epoch, used=used, seed=seed, at_end=at_end)


def beside(ratio: float, batch: int) -> int:
    """Added rows a batch: at least one, and whole ones; warns where that changes the ratio."""
    count = max(1, round(ratio * batch))
    if abs(count / batch - ratio) > TOLERATED * ratio:
        warnings.warn(
            f"a ratio of {ratio:g} in batches of {batch} is {count} added rows a batch, a "
            f"ratio of {count / batch:.2g}; larger batches come nearer",
            stacklevel=2,
        )
    return count
