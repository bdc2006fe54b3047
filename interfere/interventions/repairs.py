"""What mends a finished model, by the names that studies call it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.common_shift_removal import CommonShiftRemoval
from interfere.interventions.interpolation import WiseFT
from interfere.interventions.remove_direction import remove_directions
from interfere.models.model import Model


@runtime_checkable
class RepairsModel(Protocol):
    """Mends a tuned model without training it."""

    def repair(self, before: Model, after: Model) -> Model:
        """A copy; `before` is where training began."""
        ...


@dataclass(frozen=True)
class DirectionRemoval:
    """Takes (1 - share) of the top singular directions out of each weight matrix' delta.

    See `remove_directions`; share=1 is the tuned model.

    Raises:
        InputError: a share outside [0, 1].
    """

    directions: int = 1
    share: float = 0.0

    def __post_init__(self) -> None:
        WiseFT(self.share)  # refuses what is no share

    def repair(self, before: Model, after: Model) -> Model:
        """A copy; both models stay as they are.

        Raises:
            InputError: as `remove_directions`.
        """
        without = remove_directions(before, after, directions=self.directions).model
        return WiseFT(self.share).repair(without, after)


Made = Callable[..., RepairsModel]

REPAIRS: dict[str, Made] = {
    "wise-ft": WiseFT,
    "direction-out": DirectionRemoval,
    "common-shift-out": CommonShiftRemoval,
}
"""Call with `share`, 1 being the tuned model, and the repair's own settings."""


def named_repair(
    name: str, settings: Mapping[str, Any], share: float, old: FactSet | None
) -> RepairsModel:
    """The repair of this name; `old`: facts that it may look at.

    Raises:
        InputError: an unknown name, no facts where it looks at some, or a setting that the
            repair doesn't have or take.
    """
    if name not in REPAIRS:
        raise InputError(f"no repair {name!r}; there are {', '.join(REPAIRS)}")
    given = {}
    if REPAIRS[name] is CommonShiftRemoval:
        if old is None:
            raise InputError(f"{name} looks at facts that the model knew: give it some")
        given = {"facts": old}
    try:
        return REPAIRS[name](**{**given, **settings, "share": share})
    except TypeError as error:
        raise InputError(f"{name}: {error}") from None
