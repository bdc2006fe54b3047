"""What a checkpoint holds beside Trainer's own, and which of them are whole."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from transformers import TrainerState, TrainingArguments

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.model import Model
from interfere.training.fingerprint import fingerprint
from interfere.training.mitigation import Mitigation

logger = logging.getLogger(__name__)

WHOLE = "whole"
"""The file that is put last into a checkpoint's folder."""

STATES = "mitigations.pt"
"""With which mitigations it was written, and what they must know to go on."""


@runtime_checkable
class Resumes(Protocol):
    """A part of a mitigation that changes as training goes."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and lists of these; empty: nothing that can't be made again."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        ...


@runtime_checkable
class WritesIntoCheckpoint(Protocol):
    """A callback with a file of its own in each checkpoint."""

    def write_into_checkpoint(self, args: TrainingArguments, state: TrainerState) -> None:
        """Write it into the checkpoint of this step, whose folder is there."""
        ...


def checkpoint_folder(output: str | Path | None, step: int) -> Path:
    """Where Trainer puts the checkpoint of an optimizer step."""
    return Path(str(output)) / f"checkpoint-{step}"


def write_states(
    folder: Path,
    mitigations: Sequence[Mitigation],
    parts: Sequence[Resumes],
    start: str | None,
) -> None:
    """Write what the parts must know; the checkpoint is not whole any more.

    `start` is the fingerprint of the model that training began from, None where nothing is
    made from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WHOLE).unlink(missing_ok=True)
    held = {
        "made_with": _settings(mitigations),
        "start": start,
        "states": [part.state_dict() for part in parts],
    }
    torch.save(held, folder / STATES)


def mark_whole(folder: Path) -> None:
    """Say that all of the checkpoint is there."""
    if folder.is_dir():
        (folder / WHOLE).touch()


def read_states(
    folder: Path,
    mitigations: Sequence[Mitigation],
    parts: Sequence[Resumes],
    start: str | None,
) -> None:
    """Give the parts what they knew at a checkpoint.

    Raises:
        InputError: it was written by another trainer, with other mitigations or settings, or
            with mitigations that were made from another model than that of fingerprint `start`.
    """
    path = folder / STATES
    if not path.is_file():
        if not mitigations:
            return
        raise InputError(
            f"{folder} holds no {STATES}: it is not there, or was written by another "
            "trainer, or not to its end; resume from another checkpoint or train anew"
        )
    held = torch.load(path, map_location="cpu")
    own = _settings(mitigations)
    if held["made_with"] != own:
        raise InputError(
            f"{folder} was written with {_named(held['made_with'])}, not with {_named(own)}; "
            "resume with the same mitigations and settings, or train anew"
        )
    if start is not None and held.get("start", start) != start:
        raise InputError(
            f"{folder} is of a training that began from another model than this trainer was "
            "given, and teachers and anchors would be made from the wrong one; make the "
            "trainer of the model that training began from (the checkpoint's weights are "
            "loaded afterwards), or train anew"
        )
    for part, state in zip(parts, held["states"], strict=True):
        part.load_state_dict(state)


def last_whole(output: str | Path | None) -> Path | None:
    """The last checkpoint that was written to its end; None: there is none."""
    found = [path.parent for path in Path(str(output)).glob(f"checkpoint-*/{WHOLE}")]
    numbered = [(int(n), at) for at in found if (n := at.name.split("-")[1]).isdigit()]
    return max(numbered)[1] if numbered else None


def to_resume(output: str | Path | None) -> str | None:
    """The last whole checkpoint, for Trainer; None, with a warning: begin anew."""
    found = last_whole(output)
    if found is None:
        logger.warning("%s holds no checkpoint that is whole: training begins anew", output)
        return None
    return str(found)


def _settings(mitigations: Sequence[Mitigation]) -> list[tuple[str, dict[str, Any]]]:
    """Class and settings of each."""
    return [(type(one).__name__, _fields(one)) for one in mitigations]


def _fields(one: object) -> dict[str, Any]:
    if not is_dataclass(one):
        return {}
    return {field.name: _plain(getattr(one, field.name)) for field in fields(one)}


def _plain(value: Any) -> Any:
    """Numbers, words and lists of them by value; models and facts by what is in them."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, FactSet):
        return f"facts {value.digest}"
    if isinstance(value, Model):
        return f"model {fingerprint(value.network)}"
    return type(value).__name__, _fields(value)


def _named(settings: list[tuple[str, dict[str, Any]]]) -> str:
    each = [
        f"{name}({', '.join(f'{k}={v!r}' for k, v in own.items())})"
        for name, own in settings
    ]
    return " and ".join(each) or "no mitigation"
