"""Where downloads, recordings, runs and results live, and how they get there whole."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import platformdirs

from interfere.errors import InputError


def home() -> Path:
    """The cache folder: INTERFERE_CACHE, else `cache/` of a checkout, else the user's.

    Raises:
        InputError: the folder can't be made or written to.
    """
    checkout = Path(__file__).resolve().parent.parent
    if chosen := os.environ.get("INTERFERE_CACHE"):
        folder = Path(chosen).expanduser()
    elif (checkout / "pyproject.toml").is_file() and (checkout / "analyses").is_dir():
        folder = checkout / "cache"
    else:
        folder = Path(platformdirs.user_cache_dir("interfere"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to the cache folder {folder} ({error.strerror}); "
            "set INTERFERE_CACHE to a folder that can be written"
        ) from error
    return folder


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to that becomes `target` only when the block ends without error.

    Raises:
        InputError: the disk is full or the folder can't be written to.
    """
    draft: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
        draft = Path(name)
        yield draft
        os.chmod(draft, 0o644)
        _to_disk(draft)
        os.replace(draft, target)
        _to_disk(target.parent)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Make a file's bytes, or a folder's names, outlive the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that becomes `target` only when the block ends without error.

    A folder already at `target` is replaced.

    Raises:
        InputError: the disk is full or the parent can't be written to.
    """
    draft: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        os.chmod(draft, 0o755)
        yield draft
        if target.exists():
            shutil.rmtree(target)
        os.replace(draft, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def digest(value: Any) -> str:
    """16 hexadecimal digits that name a JSON-able value; equal values, equal names."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


PARTS = {
    "downloads": "fetched files, checked",
    "models": "weights converted from downloads",
    "knowledge": "categories of facts",
    "checks": "architectures held to TransformerLens",
    "runs": "trained arms and their recordings",
    "results": "tables of studies",
    "figures": "pictures of studies",
}
"""The cache's folders."""


def sizes() -> pd.DataFrame:
    """part, holds, files, MB: a row for each folder of the cache."""
    rows = []
    for part, holds in PARTS.items():
        files = [path for path in (home() / part).rglob("*") if path.is_file()]
        total = sum(path.stat().st_size for path in files)
        rows.append({"part": part, "holds": holds, "files": len(files), "MB": total / 1e6})
    return pd.DataFrame(rows)


def clean(part: str | None = None) -> float:
    """Delete one folder of the cache, or all but downloads; returns the bytes freed.

    Raises:
        InputError: a part that the cache doesn't have.
    """
    if part is not None and part not in PARTS:
        raise InputError(f"the cache has no part {part!r}; there are {', '.join(PARTS)}")
    before = sizes()["MB"].sum()
    for name in [part] if part else [name for name in PARTS if name != "downloads"]:
        shutil.rmtree(home() / name, ignore_errors=True)
    return float(before - sizes()["MB"].sum()) * 1e6
