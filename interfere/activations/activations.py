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
    state: tuple[int, int, int]
    """The file's inode, size and time of change when it was opened."""

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
        self._check()
        count = int(np.prod(self.shape))
        found = np.fromfile(self.path, self.stored, count, offset=self.offset)
        if len(found) != count:
            raise self._cut_off()
        return found.reshape(self.shape)

    def _rows(self, rows: Rows) -> np.ndarray:
        if self.offset is None:
            return self._unpacked(rows)
        self._check()
        mapped = np.memmap(self.path, self.stored, "r", self.offset, self.shape)
        found = np.asarray(mapped)[rows]
        # A view would keep the file mapped, and die with it should it be cut off.
        return found if found.flags.owndata else found.copy()

    def _unpacked(self, rows: Rows) -> np.ndarray:
        """HDF5 reads ascending rows, each once."""
        self._check()
        wanted = np.arange(len(self))[rows]
        distinct, back = np.unique(wanted, return_inverse=True)
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                found = np.asarray(file[self.name][distinct])
        except OSError as error:
            why = " ".join(str(error).split())
            raise InputError(
                f"cannot read {self.path}: {why}; restore it or record it anew"
            ) from error
        return found[back.reshape(np.shape(wanted))]

    def _check(self) -> None:
        """Refuse a file that is not the one that was opened."""
        now = file_state(self.path)
        if now == self.state:
            return
        # Beyond the file's end a mapped read would end the process.
        if self.offset is not None and now[1] < self.offset + self._bytes:
            raise self._cut_off()
        raise InputError(f"{self.path} has changed since it was opened; open it again")

    @property
    def _bytes(self) -> int:
        return int(np.prod(self.shape)) * self.stored.itemsize

    def _cut_off(self) -> InputError:
        return InputError(
            f"{self.path} ends before {self.name} does; restore it or record it anew"
        )


def file_state(path: Path) -> tuple[int, int, int]:
    """Inode, size and time of change: other where a file was replaced or written to.

    Raises:
        InputError: there is no such file any more.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def activations(
    path: Path, dataset: h5py.Dataset, state: tuple[int, int, int], *, bfloat16: bool
) -> Activations:
    """What a dataset of an open file holds."""
    return Activations(
        path,
        dataset.name.lstrip("/"),
        tuple(dataset.shape),
        dataset.dtype,
        bfloat16,
        dataset.id.get_offset() if dataset.chunks is None else None,
        state,
    )


def _bfloat16(bits: np.ndarray) -> Tensor:
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
