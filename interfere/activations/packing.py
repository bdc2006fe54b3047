"""Rewrite a finished recording compressed, for archiving."""

from pathlib import Path

import h5py
import numpy as np

from interfere import cache
from interfere.activations import seal
from interfere.activations.layout import VERSION
from interfere.activations.recording import Recording, open_recording, reading
from interfere.activations.verifying import inspect_chunks
from interfere.errors import InputError

ROWS = 256
"""Facts compressed together: one read of a single fact unpacks so many."""

COMPRESSION = 4
"""gzip's level; bytes are shuffled first, so that those of like weight stand together."""


def pack(file: str | Path, out: str | Path) -> Recording:
    """Write `out` with the activations compressed; what a reader gets is the same.

    Slower to read by rows: docs/recordings.md says what it costs and saves.

    Raises:
        InputError: `out` exists, or `file` is unfinished or damaged.
    """
    source, out = open_recording(file), Path(out)
    if out.exists():
        raise InputError(f"{out} is there already; name another file or remove it")
    if not (verdict := inspect_chunks(source.path)).whole:
        raise InputError(
            verdict.problem
            or f"{source.path}: chunk {verdict.damaged[0]} is damaged; record it anew"
        )
    with cache.whole_file(out) as draft:
        with reading(source.path) as old:
            filled = [name for name in _names(old) if name.startswith(("blocks", "ln_"))]
            pieces = sum(-(-old[name].shape[0] // ROWS) for name in filled)
            block = seal.block_size(pieces)
            with h5py.File(draft, "w", userblock_size=block) as new:
                for name in _names(old):
                    _copy(old[name], new, name, packed=name in filled)
                new.attrs.update(old.attrs)
                new.attrs["version"] = VERSION
        seal.attach(draft, filled, VERSION)
        with draft.open("r+b") as handle:
            sealed = seal.check(draft, VERSION)
            assert sealed is not None
            handle.seek(sealed.complete_at)
            handle.write(b"\1")
    return open_recording(out)


def _names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return names


def _copy(dataset: h5py.Dataset, new: h5py.File, name: str, *, packed: bool) -> None:
    if not packed:
        dataset.parent.file.copy(dataset, new, name)
        return
    rows = min(ROWS, dataset.shape[0])
    twin = new.create_dataset(
        name,
        dataset.shape,
        dataset.dtype,
        chunks=(rows, *dataset.shape[1:]),
        shuffle=True,
        compression="gzip",
        compression_opts=COMPRESSION,
    )
    twin.attrs.update(dataset.attrs)
    for begin in range(0, dataset.shape[0], ROWS):
        twin[begin : begin + ROWS] = np.asarray(dataset[begin : begin + ROWS])
