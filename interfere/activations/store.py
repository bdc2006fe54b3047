"""Write an activation file: a chunk of facts at a time, whole or not at all."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from interfere import cache
from interfere.activations import layout as contents
from interfere.activations import seal
from interfere.activations.layout import IDENTITY, MACHINE, VERSION, Layout
from interfere.activations.lock import only_writer
from interfere.activations.recording import Recording, header, open_recording, reading
from interfere.errors import InputError

LOG = logging.getLogger(__name__)

KEPT = "what is finished in it is kept; make room, then resume=True (--resume)"


class Writer:
    """Fills the chunks of a file that HDF5 has laid out.

    Datasets are contiguous and allocated, so their bytes go to the file directly: HDF5
    would hold back what a full disk refuses, and fail over it for as long as it lives.
    """

    def __init__(self, path: Path, handle: int, layout: Layout) -> None:
        self._path, self._handle, self._layout = path, handle, layout
        self._seal = seal.check(path, VERSION)
        with reading(path) as file:
            self._offsets = {name: file[name].id.get_offset() for name in layout.filled}
            done = file["chunks/done"][...].astype(bool)
            self.todo = [
                i
                for i, is_done in enumerate(done)
                if not (is_done and self._whole(file, i))
            ]
            """Chunks that are not there yet, or not as their checksum says."""

    def write(self, chunk: int, values: Mapping[str, np.ndarray]) -> None:
        """Write a chunk's rows of every dataset, then its checksum, then its bit."""
        parts = []
        self._put("chunks/done", chunk, np.zeros(1, np.uint8))
        for name, (_, kind) in self._layout.datasets.items():
            parts.append(np.ascontiguousarray(values[name], dtype=kind))
            self._put(name, self._layout.plan.chunks[chunk].start, parts[-1])
        self._put("chunks/checksum", chunk, np.array([contents.checksum(parts)], np.uint32))
        with _one_line(self._path, KEPT):
            os.fdatasync(self._handle)  # the bit must not reach the disk before the bytes
        self._put("chunks/done", chunk, np.ones(1, np.uint8))

    def complete(self) -> None:
        """Say that every chunk is there, in place: no metadata is moved."""
        with _one_line(self._path, KEPT):
            os.fsync(self._handle)
            if self._seal is not None:
                os.pwrite(self._handle, b"\1", self._seal.complete_at)
                return
            with h5py.File(self._path, "r+", locking=False) as file:
                file.attrs.modify("complete", np.uint8(1))

    def _put(self, name: str, row: int, values: np.ndarray) -> None:
        offset = self._offsets[name] + row * values[0].nbytes
        with _one_line(self._path, KEPT):
            write_all(self._handle, values.reshape(-1).view(np.uint8).data, offset)

    def _whole(self, file: h5py.File, chunk: int) -> bool:
        rows = self._layout.plan.chunks[chunk]
        parts = (file[name][rows.start : rows.stop] for name in self._layout.datasets)
        return contents.checksum(parts) == int(file["chunks/checksum"][chunk])


def write_all(handle: int, data: memoryview | bytes, offset: int) -> None:
    """Write all bytes; one call may write fewer, as on a disk that is nearly full.

    Raises:
        OSError: the disk is full or can't be written.
    """
    left = memoryview(data)
    while left:
        written = os.pwrite(handle, left, offset)
        left, offset = left[written:], offset + written


@contextmanager
def writing(path: Path, layout: Layout, *, resume: bool) -> Iterator[Writer]:
    """Open a file to fill, made first if it isn't there.

    It is laid out beside its place and moved there, so that a file at `path` is always
    one that can be read or gone on with.

    Raises:
        InputError: the disk is full or can't be written, another process writes, or what
            is there can't be gone on with, as in `find`.
    """
    with only_writer(path):
        find(path, layout, resume=resume)  # what another writer may have left meanwhile
        if not path.exists():
            _refuse_if_too_large(path, layout)
            with (
                cache.whole_file(path) as draft,
                _one_line(path, "make room or name a file on another disk"),
            ):
                block = seal.block_size(len(layout.filled))
                with h5py.File(draft, "w", userblock_size=block) as new:
                    contents.create(new, layout)
                seal.attach(draft, layout.filled, VERSION)
        with _one_line(path, KEPT):
            handle = os.open(path, os.O_RDWR)
        try:
            yield Writer(path, handle, layout)
        finally:
            os.close(handle)


def find(path: Path, layout: Layout, *, resume: bool) -> Recording | None:
    """The finished recording of this very layout at `path`; None: it is to be made.

    Raises:
        InputError: what is there is something else, or unfinished and not to be resumed.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
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


def unfinished(path: Path) -> list[int]:
    """Chunks of a file that were never written to the end."""
    with reading(path) as file:
        return [int(chunk) for chunk in np.flatnonzero(file["chunks/done"][...] == 0)]


def _refuse_if_too_large(path: Path, layout: Layout) -> None:
    free = shutil.disk_usage(path.parent).free
    LOG.info("%s takes %s of %s free", path, _size(layout.bytes), _size(free))
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
