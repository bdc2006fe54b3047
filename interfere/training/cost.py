"""What a training takes beside plain fine-tuning: forwards, rows, seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Cost:
    """Counted as training goes; give one to `train` and read it afterwards."""

    rows: int = 0
    """Rows that went forward and backward, those that a mitigation added with them."""
    added_rows: int = 0
    """Of these, what a mitigation added."""
    teacher_rows: int = 0
    """Rows that went through a teacher, once if it is cached."""
    measured_rows: int = 0
    """Rows whose gradients a mitigation looked at by itself: a forward and a backward."""
    asked_rows: int = 0
    """Rows that a mitigation looked at by a forward alone, such as facts that it asked; a
    further backward pass over one counts as two."""
    seconds: float = 0.0
    """From the mitigations' preparation to the last step, facts asked meanwhile left out."""

    def __post_init__(self) -> None:
        self._since: float | None = None

    def start(self) -> None:
        """Seconds run from here."""
        self._since = time.monotonic()

    def pause(self) -> None:
        """Seconds stop here."""
        if self._since is not None:
            self.seconds += time.monotonic() - self._since
            self._since = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Seconds stand still inside, if they ran."""
        running = self._since is not None
        self.pause()
        try:
            yield
        finally:
            if running:
                self.start()
