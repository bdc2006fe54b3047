"""Many processes record one set of facts: each its share of the chunks, then joined."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interfere import cache
from interfere.activations import seal
from interfere.activations.layout import VERSION
from interfere.activations.plan import chunk_facts
from interfere.activations.recording import Recording, header, open_recording, reading
from interfere.activations.seal import Seal
from interfere.activations.store import write_all
from interfere.activations.verifying import SCORES, inspect_chunks
from interfere.errors import InputError


def part_path(file: Path, rank: int, ranks: int) -> Path:
    """Where a process records its share."""
    return file.with_name(f"{file.stem}.part{rank}of{ranks}{file.suffix}")


def join(out: str | Path, parts: Sequence[str | Path]) -> Recording:
    """Make one finished recording of the parts that several processes made.

    The parts stay. Nothing is written at `out` unless every chunk is there and whole.

    Raises:
        InputError: `out` exists, parts of different recordings, a part without a seal, a
            chunk that no part holds or that is damaged.
    """
    out, paths = Path(out), [Path(part) for part in parts]
    if not paths:
        raise InputError("join needs the parts' files")
    if out.exists():
        raise InputError(f"{out} is there already; name another file or remove it")
    seals = [_sealed(path) for path in paths]
    for path, other in zip(paths, seals, strict=True):
        if other != seals[0]:
            raise InputError(
                f"{path} is part of another recording than {paths[0]}: "
                f"{_unlike(paths[0], path)}; record all parts alike"
            )
    holders = _holders(paths)
    with cache.whole_file(out) as draft:
        _assemble(draft, paths, seals[0], holders)
        if not inspect_chunks(draft).whole:
            raise InputError(f"{out} could not be written whole; make room and join again")
    return open_recording(out)


def _sealed(path: Path) -> Seal:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    found = seal.check(path, VERSION)
    if found is None:
        raise InputError(f"{path} is of an older format and can't be joined")
    with reading(path) as file:
        if file["chunks/done"].id.get_offset() is None or any(
            file[f"{hook}/{position}"].chunks
            for hook in json.loads(file.attrs["hooks"])
            for position in json.loads(file.attrs["positions"])
        ):
            raise InputError(f"{path} is packed; join the parts as they were recorded")
    return found


def _unlike(path: Path, other: Path) -> str:
    """What the two files say differently of themselves."""
    here, there = header(path)[0], header(other)[0]
    names = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    shown = [name for name in names if name != "static_checksum"] or ["prompts or tokens"]
    return f"{', '.join(shown)} {'differ' if len(shown) > 1 else 'differs'}"


def _holders(paths: list[Path]) -> list[Path]:
    """For each chunk a part that has it whole."""
    found: dict[int, Path] = {}
    for path in paths:
        verdict = inspect_chunks(path)
        if verdict.problem:
            raise InputError(verdict.problem)
        if verdict.damaged:
            chunks = ", ".join(map(str, verdict.damaged[:5]))
            raise InputError(f"{path}: chunk {chunks} is damaged; record that part anew")
        for chunk in set(range(verdict.chunks)) - set(verdict.unfinished):
            found.setdefault(chunk, path)
        total = verdict.chunks
    if missing := [chunk for chunk in range(total) if chunk not in found]:
        raise InputError(
            f"no part holds chunk {', '.join(map(str, missing[:5]))} of {total}"
            f"{_whose(paths, missing)}; resume or record it, then join again"
        )
    return [found[chunk] for chunk in range(total)]


def _whose(paths: list[Path], missing: list[int]) -> str:
    """Which process should have recorded the missing chunks, as the parts' names tell it."""
    named = [re.search(r"\.part(\d+)of(\d+)(?:\.|$)", path.name) for path in paths]
    counts = {int(match[2]) for match in named if match}
    if len(counts) != 1 or None in named:
        return ""
    ranks = counts.pop()
    lost = sorted({chunk % ranks for chunk in missing})
    return f": the share of rank {', '.join(map(str, lost))} of {ranks}"


def _assemble(draft: Path, paths: list[Path], sealed: Seal, holders: list[Path]) -> None:
    """Copy what was laid out, then each chunk's bytes from the part that has it."""
    attributes, _, _ = header(paths[0])
    size = chunk_facts(attributes["batch_plan"])
    with reading(paths[0]) as file:
        names = [
            f"{hook}/{position}"
            for hook in json.loads(attributes["hooks"])
            for position in json.loads(attributes["positions"])
        ]
        names += [name for name in SCORES if name in file]
        places = [(file[name].id.get_offset(), file[name][:1].nbytes) for name in names]
        facts = len(file["prompts"])
        done, sums = (file[f"chunks/{n}"].id.get_offset() for n in ("done", "checksum"))
    with draft.open("r+b") as target:
        target.truncate(sealed.size)
        with paths[0].open("rb") as source:
            target.write(source.read(sealed.block))
            for begin, piece in seal.laid_out(source, sealed):
                target.seek(begin)
                target.write(piece)
        for chunk, path in enumerate(holders):
            rows = range(chunk * size, min((chunk + 1) * size, facts))
            with path.open("rb") as source:
                for offset, row in places:
                    _copy(
                        source.fileno(),
                        target.fileno(),
                        offset + rows.start * row,
                        row * len(rows),
                    )
                _copy(source.fileno(), target.fileno(), sums + 4 * chunk, 4)
        target.seek(done)
        target.write(np.ones(len(holders), np.uint8).tobytes())
        target.seek(sealed.complete_at)
        target.write(b"\1")


def _copy(source: int, target: int, offset: int, count: int) -> None:
    while count:
        piece = os.pread(source, min(count, 1 << 24), offset)
        if not piece:
            raise InputError("a part ends before its last chunk; record it anew")
        write_all(target, piece, offset)
        offset, count = offset + len(piece), count - len(piece)
