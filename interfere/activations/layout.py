"""How an activation file is laid out in HDF5, and what makes two of them the same."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any

import h5py
import numpy as np

from interfere.activations.plan import Plan
from interfere.errors import InputError

FORMAT = "interfere activations"
VERSION = 2
"""2: a block before HDF5's own first byte seals what was laid out (`seal`)."""

STORED: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": np.uint16,
}
"""Networks' types and what HDF5 keeps of them: of bfloat16, opaque to it, the bits."""

FACT_FIELDS = ("id", "subject", "relation", "answer")

IDENTITY = (
    "weights",
    "tokenizer",
    "facts",
    "hooks",
    "positions",
    "dtype",
    "attention",
    "batch_plan",
)
"""Attributes that must agree for two files to be one recording."""

LATER = ("attention", "precision")
"""Attributes that older files lack; there they are not compared."""

MACHINE = ("libraries", "threads", "device", "precision")
"""Attributes that move last bits: parts of one file must agree on them."""


@dataclass(frozen=True)
class Layout:
    """Everything of a file that is known before the first activation."""

    plan: Plan
    shapes: dict[str, tuple[int, ...]]
    """Of one token's activation, by hook in forward order."""
    dtype: str
    scores: bool = True
    """Whether the canonical answer's score is kept."""
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def datasets(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Shape and type of what a forward pass fills, in the order that checksums take."""
        rows, stored = len(self.plan.facts), STORED[self.dtype]
        filled: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            f"{hook}/{position}": ((rows, *shape), stored)
            for hook, shape in self.shapes.items()
            for position in self.plan.positions
        }
        if not self.scores:
            return filled
        return filled | {
            "score/logprob": ((rows,), np.float64),
            "score/right": ((rows,), np.uint8),
        }

    @property
    def filled(self) -> list[str]:
        """Datasets whose bytes change after the file was laid out."""
        return [*self.datasets, "chunks/done", "chunks/checksum"]

    @property
    def bytes(self) -> int:
        """How much disk the file takes, rounded up by what HDF5 adds."""
        filled = sum(
            int(np.prod(shape)) * np.dtype(kind).itemsize
            for shape, kind in self.datasets.values()
        )
        known = sum(np.asarray(v).nbytes for v in self.static.values())
        return filled + known + 65536 + 2048 * len(self.datasets)

    @cached_property
    def static(self) -> dict[str, Any]:
        """Datasets that are written before the first activation."""
        table = self.plan.facts.table
        lengths = [len(ids) for ids in self.plan.tokens]
        return {
            **{f"facts/{name}": texts(table[name]) for name in FACT_FIELDS},
            "prompts": texts(self.plan.prompts),
            "tokens/ids": np.concatenate(self.plan.tokens).astype(np.int32),
            "tokens/offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            **{f"positions/{name}": at for name, at in self.plan.positions.items()},
        }


def texts(values: Iterable[str]) -> np.ndarray:
    """Bytes of equal length: HDF5's variable strings lie in a heap that a kill can tear.

    Raises:
        InputError: a text that would not come back as it is.
    """
    found = []
    for value in values:
        try:
            found.append(value.encode())
        except UnicodeEncodeError as error:
            raise InputError(f"{value!r} is no text that UTF-8 can hold") from error
        if value.endswith("\0"):
            raise InputError(f"{value!r} ends in a zero byte, which HDF5 would drop")
    return np.array(found, dtype=np.bytes_)


def libraries() -> str:
    """Versions that can change an activation, as JSON."""
    names = ("torch", "transformers", "h5py", "numpy")
    return json.dumps({name: metadata.version(name) for name in names})


def checksum(parts: Iterable[np.ndarray]) -> int:
    """crc32 of the arrays' bytes, one after the other."""
    value = 0
    for part in parts:
        value = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).data, value)
    return value


def create(file: h5py.File, layout: Layout) -> None:
    """Write what is known and allocate the rest, contiguous and unfilled."""
    static = layout.static
    for name, values in static.items():
        if values.dtype.kind == "S":
            kind = h5py.string_dtype("utf-8", max(values.dtype.itemsize, 1))
            file.create_dataset(name, data=values.astype(kind), dtype=kind)
        else:
            file.create_dataset(name, data=values)
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    for name, (shape, kind) in layout.datasets.items():
        filled = file.create_dataset(name, shape=shape, dtype=kind, dcpl=early.copy())
        if layout.dtype == "bfloat16" and kind is np.uint16:
            filled.attrs["dtype"] = "bfloat16"
    chunks = len(layout.plan.chunks)
    file.create_dataset("chunks/done", data=np.zeros(chunks, np.uint8))
    file.create_dataset("chunks/checksum", data=np.zeros(chunks, np.uint32))
    file.attrs.update(layout.attributes)
    file.attrs["complete"] = np.uint8(0)


def static_checksum(layout: Layout) -> int:
    """crc32 over facts, prompts, tokens and positions: equal in files of one plan."""
    return checksum(layout.static.values())


def differences(
    attributes: Mapping[str, Any], layout: Layout, names: Sequence[str]
) -> list[str]:
    """What a file's attributes say otherwise than the layout does, each in a few words."""
    found = []
    if bool(attributes.get("scores", 1)) != layout.scores:
        found.append(f"scores are {'not ' * layout.scores}kept there")
    for name in names:
        here, there = layout.attributes[name], attributes.get(name)
        if here == there or (there is None and name in LATER):
            continue
        if name in ("hooks", "positions"):
            unlike = sorted({*json.loads(here)} ^ {*json.loads(there or "[]")})
            found.append(f"{name} differ in {', '.join(unlike[:3])}")
        else:
            found.append(f"{name} {there!r} there and {here!r} here")
    return found
