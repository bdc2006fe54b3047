"""What the command line says: tables and paths to standard output, the rest to error."""

import sys
from typing import Any


def stop(message: str, status: int) -> None:
    """End the process with one line that says why."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {plain(message)}")
    sys.exit(status)


def plain(message: str) -> str:
    """One line, with nothing that rich would read as markup."""
    from rich.markup import escape

    return escape(" ".join(message.split()))


def say(text: str) -> None:
    """Tell what goes on, on standard error."""
    from rich.console import Console

    Console(stderr=True).print(f"[dim]·[/] {plain(text)}")


def show(table: Any) -> None:
    """Print a table; wide where nobody watches."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)


def quiet() -> None:
    """Libraries' notices are not for our users; their errors still are."""
    import logging
    import os
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    # Ours say what a number can't be: one line each, once.
    warnings.filterwarnings("once", category=UserWarning, module="interfere")
    said: set[str] = set()

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        # A library that resets the filters would have each said again.
        if str(message) not in said:
            said.add(str(message))
            say(f"note: {message}")

    warnings.showwarning = note
    ours = logging.getLogger("interfere")
    if not ours.handlers:
        handler = logging.Handler()
        handler.emit = lambda record: say(record.getMessage())  # type: ignore[method-assign]
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
