"""Gradients in few numbers, made so that inner products survive.

A matrix's gradient G becomes R G S: R adds up its longer side in buckets with random signs,
S projects its shorter side on random directions. ⟨R G S, R H S⟩ is ⟨G, H⟩ on average over R
and S, and exactly that once both are square. Since G is a sum of outer products, R and S act
on the factors and G is never formed, also where each entry of G is first scaled.

Sources: factored projections, arXiv 2405.13954 (LoGra), §3; buckets with signs, Charikar,
Chen and Farach-Colton 2002 (count sketch), here of equal size.
"""

from math import isqrt, sqrt

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor

from interfere.models.example_gradients import Factors, Lookup, Outer, Whole

Sketched = Float[Tensor, "kinds examples numbers"]
"""Plain first; scaled second, where there is a scale."""

ROWS_FIRST = 4
"""Where ids choose rows: how many times more buckets than directions."""


class VectorSketch:
    """A small parameter's gradient, of any shape, in at most `numbers` numbers."""

    def __init__(
        self,
        shape: torch.Size,
        numbers: int,
        generator: torch.Generator,
        device: torch.device,
        scale: Tensor | None = None,
    ) -> None:
        """`scale` multiplies the gradient's entries."""
        self._buckets = _Buckets(shape.numel(), numbers, generator, device)
        self._scale = None if scale is None else scale.to(device).float().flatten()

    def __call__(self, factors: Factors) -> Sketched:
        """Each example's sketch."""
        assert isinstance(factors, Whole)
        flat = factors.values.float().flatten(1)
        kinds = [flat] if self._scale is None else [flat, flat * self._scale]
        return torch.stack([self._buckets.signed(kind).sum(-1) for kind in kinds])


class MatrixSketch:
    """A matrix's gradient in at most `numbers` numbers."""

    def __init__(
        self,
        shape: torch.Size,
        numbers: int,
        generator: torch.Generator,
        device: torch.device,
        scale: Tensor | None = None,
        *,
        looked_up: bool = False,
        apart: Int[Tensor, " few"] | None = None,
    ) -> None:
        """`scale` multiplies the gradient's entries; `looked_up`: ids choose rows.

        `apart`: rows that shall not meet in a bucket, as far as there are buckets.
        """
        rows, columns = shape
        self._long_rows = looked_up or rows >= columns
        long, short = (rows, columns) if self._long_rows else (columns, rows)
        # Few ids are chosen, so that buckets of their own make most products of rows exact.
        square = numbers // ROWS_FIRST if looked_up else numbers
        directions = min(short, max(isqrt(square), 1))
        buckets = max(numbers // directions, 1)
        self._buckets = _Buckets(long, buckets, generator, device, apart)
        random = torch.randn(short, directions, generator=generator)
        orthonormal = torch.linalg.qr(random).Q
        self._directions = (orthonormal * sqrt(short / directions)).to(device)
        self._scale: Tensor | None = None
        if scale is not None:
            short_first = scale.T if self._long_rows else scale
            split = self._buckets.split(short_first.to(device).float())
            self._scale = split.permute(1, 2, 0).contiguous()

    def __call__(self, factors: Factors) -> Sketched:
        """Each example's sketch."""
        if isinstance(factors, Lookup):
            return self._of_lookup(factors.chosen, factors.columns.float())
        assert isinstance(factors, Outer)
        sides = factors.rows.float(), factors.columns.float()
        return self._of_outer(*(sides if self._long_rows else reversed(sides)))

    def _of_outer(
        self,
        long: Float[Tensor, "examples tokens long"],
        short: Float[Tensor, "examples tokens short"],
    ) -> Sketched:
        split = self._buckets.signed(long)
        plain = split.sum(-1).transpose(1, 2) @ (short @ self._directions)
        if self._scale is None:
            return plain.flatten(1)[None]
        examples, tokens, buckets, size = split.shape
        # A bucket's sum takes in the scale for each short coordinate; what is left of the
        # outer product is the short factor.
        mixed = split.permute(2, 0, 1, 3).reshape(buckets, -1, size) @ self._scale
        mixed = mixed.view(buckets, examples, tokens, -1).mul_(short).sum(2)
        scaled = (mixed @ self._directions).transpose(0, 1)
        return torch.stack([plain.flatten(1), scaled.flatten(1)])

    def _of_lookup(
        self,
        ids: Tensor,
        columns: Float[Tensor, "examples tokens short"],
    ) -> Sketched:
        place = self._buckets.place[ids]
        kinds = [columns]
        if self._scale is not None:
            kinds.append(columns * self._scale.flatten(0, 1)[place])
        signed = torch.stack(kinds) * self._buckets.signs[ids][..., None]
        projected = (signed @ self._directions).flatten(1, 2)
        examples, buckets = len(ids), self._buckets.count
        own = buckets * torch.arange(examples, device=ids.device)[:, None]
        bucket = (own + place // self._buckets.size).flatten()
        sums = projected.new_zeros(len(kinds), examples * buckets, projected.shape[-1])
        return sums.index_add_(1, bucket, projected).view(len(kinds), examples, -1)


class _Buckets:
    """A random partition of coordinates into at most `count` buckets of equal size."""

    def __init__(
        self,
        length: int,
        count: int,
        generator: torch.Generator,
        device: torch.device,
        apart: Tensor | None = None,
    ) -> None:
        self.size = -(-length // count)
        self.count = -(-length // self.size)
        self._padding = self.count * self.size - length
        signs = 2 * torch.randint(2, (length,), generator=generator) - 1
        order = torch.randperm(length, generator=generator)
        if apart is not None:
            chosen = torch.isin(order, apart.cpu())
            order = torch.cat([order[chosen], order[~chosen]])
        # Dealt out like cards, so that the first `count` are in buckets of their own.
        dealt = F.pad(order, (0, self._padding), value=length)
        dealt = dealt.view(self.size, self.count).T.flatten()
        self._order, self.signs = dealt.to(device), signs.float().to(device)
        self.place = dealt.argsort()[:length].to(device)
        """Where each coordinate stands once they are ordered by bucket."""

    def split(self, x: Float[Tensor, "... length"]) -> Float[Tensor, "... count size"]:
        """Coordinates by bucket; zeros fill the last one."""
        ordered = F.pad(x, (0, 1))[..., self._order]
        return ordered.unflatten(-1, (self.count, self.size))

    def signed(self, x: Float[Tensor, "... length"]) -> Float[Tensor, "... count size"]:
        """The same, each coordinate times its sign."""
        return self.split(x * self.signs)
