"""A teacher's last hidden states of rows that come again and again, computed once."""

import tempfile
from collections.abc import Callable
from typing import BinaryIO

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interfere.errors import InputError
from interfere.progress import progress
from interfere.training.numbered import NUMBER
from interfere.training.rows import Row, Rows
from interfere.training.teacher import Batch, Teacher

IN_MEMORY = 2**30
"""Bytes of states that stay in memory; what is more goes to a temporary file."""
ON_DISK = 2**35
"""Bytes beyond which nothing is kept and the teacher runs live."""
BLOCK = 32
"""Rows a forward while the states are computed."""

Key = tuple[bytes, ...]
Where = Callable[[Batch], Bool[Tensor, "rows tokens"]]


class CachedTeacher:
    """Keeps the teacher's states at the positions kept, by the row's tokens.

    Its head is applied each time: states are d numbers a position where logits are a
    vocabulary. States are computed before training in blocks of rows of like length,
    which only the rows determine, so that a training that resumes finds the same. A row
    that was not seen then, or not with so much padding before it, is asked of the teacher
    when it comes: batches padded on the right find theirs, those padded on the left seldom.
    Padding moves the last bits, so the loss agrees with the live teacher's to about 1e-6.
    """

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self._held: dict[Key, Tensor] = {}
        self._placed: dict[Key, tuple[int, tuple[int, ...], torch.dtype]] = {}
        self._file: BinaryIO | None = None
        self._live = False
        self.bytes = 0

    def fill(
        self,
        rows: Rows,
        collate: Callable[[list[Row]], Batch],
        where: Where,
        device: torch.device,
    ) -> None:
        """Compute the rows' states, unless they would take more than ON_DISK.

        Args:
            rows: tokenised.
            collate: rows to a batch.
            where: a batch to the positions that the loss is at.
            device: of the teacher.
        """
        order = sorted(range(len(rows)), key=lambda i: (len(rows[i]["input_ids"]), i))
        with progress("teacher's states", len(order)) as advance:
            for start in range(0, len(order), BLOCK):
                chosen = order[start : start + BLOCK]
                batch = collate([rows[i] for i in chosen])
                batch = {name: values.to(device) for name, values in batch.items()}
                inputs = {k: v for k, v in batch.items() if k not in ("labels", NUMBER)}
                self.states(inputs, where(batch))
                # rows grow longer: what so many took is no more than their share
                if self.bytes * len(order) > ON_DISK * (start + len(chosen)):
                    self.forget()
                    return
                advance(len(chosen))

    def states(
        self, inputs: Batch, kept: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "kept d"]:
        """As the teacher's, from what is kept where it is."""
        rows = kept.any(1).nonzero()[:, 0].tolist()
        keys = dict(zip(rows, _keys(inputs, kept, rows), strict=True))
        new = [row for row in rows if not self._has(keys[row])]
        if new == rows:  # none is held, or there is none
            found = self.teacher.states(inputs, kept)
            self._keep_all(keys, new, kept, found)
            return found
        held = {row: self._fetch(keys[row]) for row in rows if self._has(keys[row])}
        device = inputs["input_ids"].device
        if new:
            chosen = torch.tensor(new, device=kept.device)
            part = {name: values[chosen] for name, values in inputs.items()}
            found = self.teacher.states(part, kept[chosen])
            self._keep_all(keys, new, kept, found)
            sizes = kept[chosen].sum(1).tolist()
            held |= {r: s.cpu() for r, s in zip(new, found.split(sizes), strict=True)}
        return torch.cat([held[row] for row in rows]).to(device)

    def head(self, hidden: Float[Tensor, "kept d"]) -> Float[Tensor, "kept v"]:
        """The teacher's."""
        return self.teacher.head(hidden)

    def forget(self) -> None:
        """Drop all states, and keep none from now on."""
        self._live = True
        self._held.clear()
        self._placed.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
        self.bytes = 0

    def _has(self, key: Key) -> bool:
        return key in self._held or key in self._placed

    def _keep_all(
        self,
        keys: dict[int, Key],
        rows: list[int],
        kept: Bool[Tensor, "rows tokens"],
        found: Float[Tensor, "kept d"],
    ) -> None:
        sizes = kept.sum(1).tolist()
        parts = found.split([sizes[row] for row in rows])
        for row, states in zip(rows, parts, strict=True):
            if self.bytes < ON_DISK and not self._live:
                self._keep(keys[row], states)

    def _keep(self, key: Key, states: Tensor) -> None:
        states = states.detach().to("cpu", copy=True).contiguous()
        size = states.numel() * states.element_size()
        if self.bytes + size <= IN_MEMORY:
            self._held[key] = states
        else:
            self._write(key, states)
        self.bytes += size

    def _write(self, key: Key, states: Tensor) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
            place = self._file.seek(0, 2)
            self._file.write(states.view(torch.uint8).numpy().tobytes())
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"no room in {tempfile.gettempdir()} for the teacher's states ({error}); "
                "set TMPDIR to a larger disk, or distil with cached=False"
            ) from error
        self._placed[key] = place, tuple(states.shape), states.dtype

    def _fetch(self, key: Key) -> Tensor:
        if key in self._held:
            return self._held[key]
        place, shape, dtype = self._placed[key]
        assert self._file is not None
        self._file.seek(place)
        size = dtype.itemsize
        for length in shape:
            size *= length
        raw = bytearray(self._file.read(size))
        return torch.frombuffer(raw, dtype=dtype).view(shape)


def _keys(inputs: Batch, kept: Bool[Tensor, "rows tokens"], rows: list[int]) -> list[Key]:
    """What a row's states depend on: its unpadded tokens, their places, and all else given."""
    mask = inputs.get("attention_mask")
    seen = None if mask is None else mask.cpu().numpy().astype(bool)
    shape = inputs["input_ids"].shape
    given = {k: v.cpu().numpy() for k, v in inputs.items() if k != "attention_mask"}
    given["kept"] = kept.cpu().numpy()
    found = []
    for row in rows:
        # Padding before a token moves it.
        parts = [b"" if seen is None else seen[row].nonzero()[0].tobytes()]
        for name in sorted(given):
            values = given[name][row]
            if seen is not None and given[name].shape[:2] == shape:
                values = values[seen[row]]
            parts.append(values.tobytes())
        found.append(tuple(parts))
    return found
