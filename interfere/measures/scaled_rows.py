"""One layer's rows, centred and scaled block by block: no second copy of the activations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from interfere.measures.rows import ROUNDING, Array, as_rows


@dataclass(frozen=True)
class ScaledRows:
    """Rows whose blocks come centred and with a mean ‖xᵢ‖² of 1; all 0 if constant."""

    rows: Float[Tensor, "n d"]
    mean: Float[Tensor, " d"]
    scale: float
    dtype: torch.dtype
    """Of the blocks."""

    @classmethod
    def of(cls, x: Array | Tensor, name: str, dtype: torch.dtype) -> "ScaledRows":
        """Look at all rows once, in float64.

        Raises:
            InputError: as in `as_rows`, naming `name`.
        """
        checked = as_rows(x, name)
        rows = torch.as_tensor(x).detach().cpu().reshape(checked.shape)
        wide = torch.promote_types(rows.dtype, dtype)
        mean = torch.from_numpy(checked.mean(0)).to(wide)
        raw, spread = np.square(checked).sum(), np.square(checked - mean.numpy()).sum()
        scale = 0.0 if spread <= ROUNDING * raw else float(np.sqrt(len(rows) / spread))
        return cls(rows, mean, scale, dtype)

    @property
    def constant(self) -> bool:
        """Whether all rows are equal up to rounding."""
        return self.scale == 0

    def block(self, start: int, stop: int) -> Float[Tensor, "block d"]:
        """Rows from start to stop, centred and scaled."""
        centred = self.rows[start:stop].to(self.mean.dtype) - self.mean
        return centred.mul_(self.scale).to(self.dtype)

    @cached_property
    def squares(self) -> Float64[Tensor, " n"]:
        """‖xᵢ‖² of the rows as blocks give them."""
        return self.block(0, len(self.rows)).double().square().sum(1)

    @cached_property
    def sums(self) -> Float64[Tensor, " n"]:
        """Row sums of the Gram matrix without its diagonal.

        Of the rows as blocks give them, whose mean is not quite 0: so centring by them is
        exact, whatever was rounded.
        """
        seen = self.block(0, len(self.rows)).double()
        return seen @ seen.sum(0) - self.squares

    def factor(self, start: int, stop: int) -> Float[Tensor, "block wide"]:
        """A block with two columns more: its share of the U-centring, and ones.

        factor @ swapped(factor)ᵀ is a tile of the U-centred Gram matrix but for the diagonal,
        which is not 0.
        """
        x, n = self.block(start, stop), len(self.rows)
        total = self.sums.sum() / (2 * (n - 1) * (n - 2))
        shift = (total - self.sums[start:stop] / (n - 2)).to(self.dtype)[:, None]
        return torch.hstack([x, shift, torch.ones_like(shift)])


def swapped(factor: Float[Tensor, "block wide"]) -> Float[Tensor, "block wide"]:
    """The other side's factor: the last two columns change places."""
    return torch.hstack([factor[:, :-2], factor[:, -1:], factor[:, -2:-1]])
