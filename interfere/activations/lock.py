"""One writer a file: a lock on a sidecar that dies with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interfere.errors import InputError


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Hold `<path>.lock` for the block and remove it afterwards.

    HDF5's own lock would keep readers out while a file is written.

    Raises:
        InputError: another process writes this file, or the folder can't be written.
    """
    sidecar = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _lock(sidecar)
    except BlockingIOError as error:
        raise InputError(
            f"{path} is being written by another process; wait for it or name another file"
        ) from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield
    finally:
        sidecar.unlink(missing_ok=True)
        os.close(handle)


def _lock(sidecar: Path) -> int:
    while True:
        handle = os.open(sidecar, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have removed the file between our open and our lock.
            if sidecar.exists() and os.fstat(handle).st_ino == sidecar.stat().st_ino:
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
