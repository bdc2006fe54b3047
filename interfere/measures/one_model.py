"""Recordings of different facts that may be laid side by side: one model's."""

from collections.abc import Mapping, Sequence

from interfere.activations.recording import Recording
from interfere.errors import InputError


def check_one_model(recordings: Mapping[str, Recording]) -> None:
    """Refuse recordings of different weights, named by what they are of; the first leads.

    Raises:
        InputError: a recording of other weights than the first.
    """
    first = next(iter(recordings))
    expected = recordings[first].attributes.get("weights")
    for name, recording in recordings.items():
        digest = recording.attributes.get("weights")
        if digest != expected:
            raise InputError(
                f"{recording.path}: {name} was recorded with the weights {digest}, "
                f"but {recordings[first].path} with {expected}; overlap compares sets "
                "of facts in one model"
            )


def check_places(
    recordings: Mapping[str, Recording], hooks: Sequence[str], positions: Sequence[str]
) -> None:
    """Refuse recordings that lack a hook or position.

    Raises:
        InputError: the recording, and what it lacks.
    """
    for name, recording in recordings.items():
        if missing := [hook for hook in hooks if hook not in recording.hooks]:
            raise InputError(f"{recording.path}: {name} lacks the hook {missing[0]}")
        if lacking := [place for place in positions if place not in recording.positions]:
            raise InputError(
                f"{recording.path}: {name} lacks the position {lacking[0]}; "
                f"it has {', '.join(recording.positions)}"
            )
