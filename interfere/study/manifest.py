"""A run's folder: locked while it is made, finished by its manifest, or not at all."""

import fcntl
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from interfere import cache
from interfere.errors import InputError

RESULTS_VERSION = 9
"""Raised whenever a result of the same configuration changes."""

LIBRARIES = ("interfere", "torch", "transformers", "transformer-lens", "h5py", "numpy")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder: another process that wants it waits, and then finds it finished.

    Raises:
        InputError: the cache can't be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = open(folder.with_suffix(".lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_finished(folder: Path) -> bool:
    """Whether the run's manifest, the last file that it writes, is there."""
    return (folder / "manifest.json").is_file()


def finish(folder: Path, identity: dict[str, object], **further: object) -> None:
    """Write the manifest: from now on the run counts and is never computed again."""
    manifest = {
        "identity": identity,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "libraries": {name: version(name) for name in LIBRARIES},
        "python": sys.version.split()[0],
        "machine": machine(),
        "threads": torch.get_num_threads(),
        **further,
    }
    with cache.whole_file(folder / "manifest.json") as draft:
        draft.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def machine() -> str:
    """The processor and, where there is one, the GPU, in words."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text().splitlines()
        names = [
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        ]
        processor = f"{len(names)} cores of {names[0]}" if names else processor
    return (
        f"{torch.cuda.get_device_name()}, {processor}"
        if torch.cuda.is_available()
        else processor
    )
