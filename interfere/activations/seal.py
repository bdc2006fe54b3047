"""A seal before the HDF5 part of a file: what was laid out is still there, byte for byte.

HDF5 lets a file begin with a block of the user's own. Ours says where the chunks' bytes lie
and what everything else hashes to, so that a damaged file is known for one before the HDF5
library, which damaged bytes can crash, reads any of it.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from interfere.errors import InputError

MAGIC = b"interfere activations; after this block it is an HDF5 file\n"
HDF5 = b"\x89HDF\r\n\x1a\n"
PIECE = 1 << 22
"""Bytes hashed at a time."""


@dataclass(frozen=True)
class Seal:
    """What a file was when it had been laid out and no activation was there yet."""

    version: int
    """Of the file's format."""
    block: int
    """Bytes before HDF5's own first."""
    size: int
    """Bytes of the whole file."""
    complete_at: int
    """Where the byte of the attribute `complete` lies."""
    filled: list[tuple[int, int]]
    """Ranges of bytes that are written later, ascending: activations, scores, chunks."""
    digest: str
    """blake2b, 128 bit, of all other bytes after the block, `complete` taken as 0."""


def block_size(datasets: int) -> int:
    """Room for the seal of so many datasets: a power of two, as HDF5 wants it."""
    return 1 << max(12, (600 + 48 * datasets).bit_length())


def attach(path: Path, filled: list[str], version: int) -> None:
    """Seal a file just laid out with a user block; `filled` names what is written later."""
    with h5py.File(path, "r", locking=False) as file:
        block = int(file.userblock_size)
        ranges = _ranges(file, filled)
    at = _byte_of_complete(path, block, ranges)
    size = path.stat().st_size
    with path.open("r+b") as file:
        bare = Seal(version, block, size, at, ranges, "")
        seal = replace(bare, digest=_digest(file, bare))
        text = json.dumps(asdict(seal)).encode()
        head = MAGIC + b"%08x %d\n" % (zlib.crc32(text), len(text))
        if len(head) + len(text) > block:
            raise ValueError(f"a seal of {len(text)} bytes in a block of {block}")
        file.seek(0)
        file.write(head + text)


def check(path: Path, reads: int) -> Seal | None:
    """The file's seal, if what was laid out is whole; None for a file without one.

    Args:
        path: a file.
        reads: the newest version of the format that can be read.

    Raises:
        InputError: neither a sealed file nor HDF5 from its first byte, of a newer version,
            or damaged.
    """
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
        if start != MAGIC:
            if start[: len(HDF5)] == HDF5:
                return None
            raise InputError(
                f"{path} is not a recording: it is no HDF5 file, or a damaged one"
            )
        seal = _read(file, path, reads)
        if path.stat().st_size < seal.size:
            raise InputError(
                f"{path} is cut off: {path.stat().st_size:,} of {seal.size:,} bytes; "
                "restore it or record it anew"
            )
        file.seek(seal.complete_at)
        if file.read(1) not in (b"\0", b"\1") or _digest(file, seal) != seal.digest:
            raise InputError(
                f"{path} is damaged outside the activations: its facts, tokens or layout "
                "are not what was written; restore it or record it anew"
            )
        return seal


def _read(file: BinaryIO, path: Path, reads: int) -> Seal:
    try:
        crc, length = file.readline(64).split()
        text = file.read(int(length))
        if zlib.crc32(text) != int(crc, 16):
            raise ValueError
        given: dict[str, Any] = json.loads(text)
        version = int(given["version"])
    except (ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise InputError(
            f"{path}: its first block is damaged; restore it or record it anew"
        ) from error
    if version > reads:
        raise newer(path, version, reads)
    return Seal(filled=[(begin, end) for begin, end in given.pop("filled")], **given)


def newer(path: Path, version: int, reads: int) -> InputError:
    """The error for a file of a format that came later."""
    return InputError(
        f"{path} has version {version} of the format, this interfere reads up to {reads}; "
        "update it"
    )


def _ranges(file: h5py.File, names: list[str]) -> list[tuple[int, int]]:
    """Where datasets lie, neighbours joined."""
    found: list[tuple[int, int]] = []
    places: list[tuple[int, int]] = []
    for name in names:
        dataset = file[name].id
        if (offset := dataset.get_offset()) is not None:
            places.append((offset, file[name].nbytes))
            continue
        # HDF5 counts these from its own first byte.
        pieces = map(dataset.get_chunk_info, range(dataset.get_num_chunks()))
        places += [(file.userblock_size + p.byte_offset, p.size) for p in pieces]
    for start, count in sorted(places):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], start + count)
        else:
            found.append((start, start + count))
    return found


def _byte_of_complete(path: Path, block: int, filled: list[tuple[int, int]]) -> int:
    """Found by changing it: HDF5 doesn't tell where an attribute lies."""
    looks = []
    for value in (1, 0):
        with h5py.File(path, "r+", locking=False) as file:
            file.attrs.modify("complete", np.uint8(value))
        with path.open("rb") as raw:
            looks.append(list(_laid_out(raw, block, path.stat().st_size, filled)))
    places = [
        begin + int(i)
        for (begin, one), (_, other) in zip(*looks, strict=True)
        for i in np.flatnonzero(
            np.frombuffer(one, np.uint8) != np.frombuffer(other, np.uint8)
        )
    ]
    if len(places) != 1:
        raise ValueError(f"{len(places)} bytes changed with the attribute complete")
    return places[0]


def _laid_out(
    file: BinaryIO, begin: int, size: int, filled: list[tuple[int, int]]
) -> Iterator[tuple[int, bytes]]:
    """Bytes that are not filled later, piece by piece, each with its place."""
    for start, stop in [*filled, (size, size)]:
        while begin < start:
            file.seek(begin)
            piece = file.read(min(PIECE, start - begin))
            if not piece:
                return
            yield begin, piece
            begin += len(piece)
        begin = stop


def laid_out(file: BinaryIO, seal: Seal) -> Iterator[tuple[int, bytes]]:
    """The bytes that the seal vouches for, piece by piece, each with its place."""
    return _laid_out(file, seal.block, seal.size, seal.filled)


def _digest(file: BinaryIO, seal: Seal) -> str:
    found = hashlib.blake2b(digest_size=16)
    for begin, piece in laid_out(file, seal):
        at = seal.complete_at - begin
        if 0 <= at < len(piece):
            piece = piece[:at] + b"\0" + piece[at + 1 :]
        found.update(piece)
    return found.hexdigest()
