"""A bar with the time left, on stderr, for work that takes more than five seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

PATIENCE = 5.0
"""Seconds before anything is shown."""


@runtime_checkable
class Advance(Protocol):
    """Says that so many more units are done."""

    def __call__(self, amount: int = 1) -> None:
        """Advance by `amount` units."""


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show `what` and the time left, if stderr is a terminal and the work takes long."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    bar = Progress(
        *columns, TimeRemainingColumn(), console=Console(file=sys.stderr), transient=True
    )
    task = bar.add_task(what, total=total)
    begin, shown = time.monotonic(), False

    def advance(amount: int = 1) -> None:
        nonlocal shown
        bar.advance(task, amount)
        if not shown and bar.console.is_terminal and time.monotonic() - begin > PATIENCE:
            bar.start()
            shown = True

    try:
        yield advance
    finally:
        if shown:
            bar.stop()
