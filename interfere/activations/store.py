"""Write an activation file: a chunk of facts at a time, whole or not at all."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool

from interfere import cache
from interfere.activations import layout as contents
from interfere.activations.layout import IDENTITY, MACHINE, Layout
from interfere.activations.lock import only_writer
from interfere.activations.recording import Recording, header, open_recording
from interfere.errors import InputError


class Writer:
    """Fills the chunks of a file that `writing` has opened."""

    def __init__(self, file: h5py.File, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self.done: Bool[np.ndarray, " chunks"] = file["chunks/done"][:].astype(bool)
        """Chunks that were there when the file was opened."""

    def check_done(self) -> None:
        """Undo finished chunks whose bytes are not what their checksum says."""
        for chunk in np.flatnonzero(self.done):
            rows = self._rows(int(chunk))
            parts = (self._file[name][rows] for name in self._layout.datasets)
            if contents.checksum(parts) != self._file["chunks/checksum"][chunk]:
                self.done[chunk] = False
                self._file["chunks/done"][chunk] = 0
        self._file.flush()

    def write(self, chunk: int, values: Mapping[str, np.ndarray]) -> None:
        """Write a chunk's rows of every dataset, then its checksum, then its bit."""
        rows, parts = self._rows(chunk), []
        for name, (_, kind) in self._layout.datasets.items():
            parts.append(np.ascontiguousarray(values[name], dtype=kind))
            self._file[name][rows] = parts[-1]
        self._file.flush()
        self._file["chunks/checksum"][chunk] = contents.checksum(parts)
        self._file.flush()
        self._file["chunks/done"][chunk] = 1
        self._file.flush()

    def complete(self) -> None:
        """Say that every chunk is there, in place: no metadata is moved."""
        self._file.attrs.modify("complete", np.uint8(1))
        self._file.flush()

    def _rows(self, chunk: int) -> slice:
        rows = self._layout.plan.chunks[chunk]
        return slice(rows.start, rows.stop)


@contextmanager
def writing(path: Path, layout: Layout) -> Iterator[Writer]:
    """Open a file to fill, made first if it isn't there.

    It is allocated beside its place and moved there, so that a file at `path` is always
    one that can be read or gone on with.

    Raises:
        InputError: the disk is full or can't be written, or another process writes.
    """
    with only_writer(path):
        if not path.exists():
            _refuse_if_too_large(path, layout)
            with (
                _one_line(path),
                cache.whole_file(path) as draft,
                h5py.File(draft, "w") as new,
            ):
                contents.create(new, layout)
        way_out = "what is finished in it is kept; make room, then resume=True (--resume)"
        with _one_line(path, way_out), h5py.File(path, "r+", locking=False) as file:
            yield Writer(file, layout)


def find(path: Path, layout: Layout, *, resume: bool) -> Recording | None:
    """The finished recording of this very layout at `path`; None: it is to be made.

    Raises:
        InputError: what is there is something else, or unfinished and not to be resumed.
    """
    if not path.exists():
        return None
    attributes, finished, prompts = header(path)
    names = IDENTITY if finished else IDENTITY + MACHINE
    unlike = contents.differences(attributes, layout, names)
    if not unlike and attributes["static_checksum"] != layout.attributes["static_checksum"]:
        rows = zip(prompts, layout.plan.prompts, strict=True)
        row = next((i for i, (there, here) in enumerate(rows) if there != here), None)
        unlike = ["tokens differ"]
        if row is not None:
            there, here = prompts[row], layout.plan.prompts[row]
            unlike = [f"prompt {row} is {there!r} there and {here!r} here"]
    if unlike:
        raise InputError(
            f"{path} is another recording: {'; '.join(unlike)}; delete it or name "
            "another file"
        )
    if finished:
        return open_recording(path)
    if not resume:
        raise InputError(
            f"{path} holds an unfinished recording; go on with resume=True "
            "(--resume) or delete it"
        )
    return None


def _refuse_if_too_large(path: Path, layout: Layout) -> None:
    free = shutil.disk_usage(path.parent).free
    if layout.bytes > free:
        raise InputError(
            f"{path} would take {_size(layout.bytes)}, but {_size(free)} are free there; "
            "record fewer hooks, positions or facts, or name a file on another disk"
        )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


@contextmanager
def _one_line(path: Path, way_out: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # HDF5 tells its whole story, over several lines.
        why = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        raise InputError(f"cannot write {path}: {why}; {way_out}") from error
