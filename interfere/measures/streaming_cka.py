"""Linear CKA of rows that don't fit in memory, batch by batch, equal to that of the whole."""

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.cka import CKA, debiased
from interfere.measures.rows import ROUNDING, as_rows

Batch = Float[Tensor, "_ ..."] | Float[np.ndarray, "_ ..."]


class StreamingCKA:
    """Debiased linear CKA of all rows that `update` was given; each row is given once.

    Exact: eq. 3 of arXiv 2010.15327 needs only sums of products of up to four features,
    which are kept in float64. This is not the paper's own minibatch CKA (eq. 4), which
    averages HSIC₁ over batches: its expectation is the same, its value depends on the
    batches and is noisier the smaller they are, but it never holds d² numbers.

    Memory: (d1 + d2)² numbers and a batch. Batches may be of any size, in any order.
    """

    def __init__(self) -> None:
        self.facts = 0
        self._widths: tuple[int, int] | None = None

    def update(self, before: Batch, after: Batch) -> None:
        """Take more facts; row i of both is one fact. An empty batch changes nothing.

        Raises:
            InputError: row counts differ, dimensions other than before, or a value that
                isn't finite. Nothing of that batch is counted then.
        """
        if len(before) != len(after):
            raise InputError(
                f"CKA needs the same facts twice, got {len(before)} and {len(after)} rows; "
                "for two sets of facts use subspace_overlap"
            )
        if not len(before):
            return
        x, y = (
            torch.from_numpy(as_rows(side, f"{name}, from fact {self.facts}"))
            for side, name in ((before, "before"), (after, "after"))
        )
        widths = x.shape[1], y.shape[1]
        if self._widths is None:
            self._begin(x, y)
        elif widths != self._widths:
            raise InputError(f"batches of {self._widths} and of {widths} dimensions differ")
        z = torch.hstack([x, y])
        self._raw += torch.stack([x.square().sum(), y.square().sum()])
        z -= self._shift
        squares = torch.stack(
            [part.square().sum(1) for part in z.split(list(widths), dim=1)], dim=1
        )
        self.facts += len(z)
        self._sum += z.sum(0)
        self._outer += z.T @ z
        self._weighted += z.T @ squares
        self._squares += squares.sum(0)
        self._products += squares.T @ squares

    def result(self) -> CKA:
        """CKA of all facts so far; NaN, with a warning, where one side is constant.

        Raises:
            InputError: fewer than four facts so far.
        """
        if self.facts < 4:
            raise InputError(f"CKA needs 4 or more facts, got {self.facts}")
        own = [self._product(side, side) for side in (0, 1)]
        noise = (ROUNDING * self._raw) ** 2
        if own[0] <= noise[0] or own[1] <= noise[1]:
            warnings.warn("CKA is NaN: one side is constant", stacklevel=2)
            return CKA(float("nan"), self.facts)
        return CKA(float(self._product(0, 1) / (own[0] * own[1]).sqrt()), self.facts)

    def _begin(self, x: Float[Tensor, "n d1"], y: Float[Tensor, "n d2"]) -> None:
        self._widths = x.shape[1], y.shape[1]
        # Near the mean of all rows: changes no result, saves digits.
        self._shift = torch.cat([x.mean(0), y.mean(0)])
        both, (d1, d2) = len(self._shift), self._widths
        self._parts = slice(0, d1), slice(d1, d1 + d2)
        self._raw, self._squares = torch.zeros(2, 2, dtype=torch.float64)
        self._products = torch.zeros(2, 2, dtype=torch.float64)
        self._sum = torch.zeros(both, dtype=torch.float64)
        self._outer = torch.zeros(both, both, dtype=torch.float64)
        self._weighted = torch.zeros(both, 2, dtype=torch.float64)

    def _product(self, a: int, b: int) -> Tensor:
        """Of the U-centred Gram matrices of sides a and b.

        The row sums of a Gram matrix without its diagonal are xᵢ·s - ‖xᵢ‖², s = Σ xⱼ.
        """
        i, j = self._parts[a], self._parts[b]
        outer, s, t = self._outer[i, j], self._sum[i], self._sum[j]
        squares = self._products[a, b]
        rows = s @ outer @ t - s @ self._weighted[i, b] - t @ self._weighted[j, a] + squares
        totals = (s @ s - self._squares[a]) * (t @ t - self._squares[b])
        return debiased(self.facts, outer.square().sum(), squares, totals, rows)


def streaming_cka(batches: Iterable[tuple[Batch, Batch]]) -> CKA:
    """`StreamingCKA` of all batches (before, after), such as chunks of two recordings.

    Raises:
        InputError: as in `StreamingCKA`.
    """
    found = StreamingCKA()
    for before, after in batches:
        found.update(before, after)
    return found.result()
