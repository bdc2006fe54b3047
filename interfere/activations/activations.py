"""One hook at one position of a recording, read when it is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interfere.errors import InputError

Rows = int | slice | list[int] | np.ndarray


@dataclass(frozen=True)
class Activations:
    """[facts, d], for heads [facts, heads, d_head]; row i is fact i.

    Nothing is in memory until rows are asked for: `a[ids]`, `a[:100]`, `a.numpy()`.
    """

    path: Path
    name: str
    """hook/position, as in the file."""
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    bfloat16: bool
    """Stored as uint16, since HDF5 has no such type."""
    offset: int | None
    """Byte where they begin; None in a packed file, whose bytes are compressed."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Axes: facts first."""
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """As the network computed them: float32, float16 or bfloat16."""
        return torch.bfloat16 if self.bfloat16 else getattr(torch, self.stored.name)

    def __getitem__(self, rows: Rows) -> np.ndarray | Tensor:
        """These rows, in their own type: a NumPy array, for bfloat16 a torch tensor.

        Raises:
            IndexError: a row that is not there.
        """
        found = self._rows(rows)
        return _bfloat16(found) if self.bfloat16 else found

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> np.ndarray:
        whole = self.numpy()
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def numpy(self) -> np.ndarray:
        """All rows: float32 or float16 as stored, bfloat16 as float32, which holds it exactly."""
        whole = self._whole()
        if not self.bfloat16:
            return whole
        return (whole.astype(np.uint32) << 16).view(np.float32)

    def torch(self) -> Tensor:
        """All rows as a tensor of the network's own type, on the CPU."""
        whole = self._whole()
        return _bfloat16(whole) if self.bfloat16 else torch.from_numpy(whole)

    def frame(self, ids: list[str] | None = None) -> pd.DataFrame:
        """A row a fact and a column a dimension; heads are laid side by side."""
        rows = self.numpy()
        return pd.DataFrame(rows.reshape(len(rows), -1), index=ids)

    def _whole(self) -> np.ndarray:
        if self.offset is None:
            return self._rows(slice(None))
        count = int(np.prod(self.shape))
        found = np.fromfile(self.path, self.stored, count, offset=self.offset)
        if len(found) != count:
            raise self._cut_off()
        return found.reshape(self.shape)

    def _rows(self, rows: Rows) -> np.ndarray:
        if self.offset is None:
            return self._unpacked(rows)
        # Beyond the file's end a mapped read would end the process.
        if self.path.stat().st_size < self.offset + self._bytes:
            raise self._cut_off()
        mapped = np.memmap(self.path, self.stored, "r", self.offset, self.shape)
        found = np.asarray(mapped)[rows]
        # A view would keep the file mapped, and die with it should it be cut off.
        return found if found.flags.owndata else found.copy()

    def _unpacked(self, rows: Rows) -> np.ndarray:
        """HDF5 reads ascending rows, each once."""
        with h5py.File(self.path, "r", locking=False) as file:
            packed = file[self.name]
            if isinstance(rows, int | np.integer | slice):
                return np.asarray(packed[rows])
            wanted = np.arange(len(self))[rows]
            distinct, back = np.unique(wanted, return_inverse=True)
            return np.asarray(packed[distinct])[back]

    @property
    def _bytes(self) -> int:
        return int(np.prod(self.shape)) * self.stored.itemsize

    def _cut_off(self) -> InputError:
        return InputError(
            f"{self.path} ends before {self.name} does; restore it or record it anew"
        )


def activations(path: Path, dataset: h5py.Dataset, *, bfloat16: bool) -> Activations:
    """What a dataset of an open file holds."""
    return Activations(
        path,
        dataset.name.lstrip("/"),
        tuple(dataset.shape),
        dataset.dtype,
        bfloat16,
        dataset.id.get_offset() if dataset.chunks is None else None,
    )


def _bfloat16(bits: np.ndarray) -> Tensor:
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
