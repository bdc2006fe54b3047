"""What a checkpoint holds beside Trainer's own, and which of them are whole."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from interfere.errors import InputError

logger = logging.getLogger(__name__)

WHOLE = "whole"
"""The file that is put last into a checkpoint's folder."""

STATES = "mitigations.pt"
"""What mitigations must know to go on."""


@runtime_checkable
class Resumes(Protocol):
    """A part of a mitigation that changes as training goes."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and lists of these; empty: nothing that can't be made again."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        ...


def checkpoint_folder(output: str | Path | None, step: int) -> Path:
    """Where Trainer puts the checkpoint of an optimizer step."""
    return Path(str(output)) / f"checkpoint-{step}"


def write_states(folder: Path, parts: Sequence[Resumes]) -> None:
    """Write what the parts must know; the checkpoint is whole then."""
    if parts:
        states = [(type(part).__name__, part.state_dict()) for part in parts]
        torch.save(states, folder / STATES)
    (folder / WHOLE).touch()


def read_states(folder: Path, parts: Sequence[Resumes]) -> None:
    """Give the parts what they knew at a checkpoint.

    Raises:
        InputError: it was written by a training with other mitigations.
    """
    if not parts:
        return
    own = [type(part).__name__ for part in parts]
    path = folder / STATES
    states = torch.load(path, map_location="cpu") if path.is_file() else []
    if [name for name, _ in states] != own:
        raise InputError(
            f"{folder} was not written with these mitigations; resume with those that it was "
            "written with, or train anew"
        )
    for part, (_, state) in zip(parts, states, strict=True):
        part.load_state_dict(state)


def last_whole(output: str | Path | None) -> Path | None:
    """The last checkpoint that was written to its end; None: there is none."""
    found = Path(str(output)).glob(f"checkpoint-*/{WHOLE}")
    numbered = [(int(path.parent.name.split("-")[1]), path.parent) for path in found]
    return max(numbered)[1] if numbered else None


def to_resume(output: str | Path | None) -> str | None:
    """The last whole checkpoint, for Trainer; None, with a warning: begin anew."""
    found = last_whole(output)
    if found is None:
        logger.warning("%s holds no checkpoint that is whole: training begins anew", output)
        return None
    return str(found)
