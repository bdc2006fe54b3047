"""Which of a sweep's settings are tried next, and which did best."""

import itertools
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from interfere.study.study import Arm, By, How, ladder

Place = tuple[int, ...]
"""Of a value in each of the sweep's lists."""


class Outcome(NamedTuple):
    """What a setting came to on validation facts, under one seed."""

    plasticity: float
    """At the end."""
    net_loss: float
    """At the level; NaN where that is not reached."""
    area: float
    """Under the frontier."""


Found = list[Outcome]
"""By seed."""


@dataclass
class Search:
    """One arm's sweep: what was tried, and what came of it."""

    arm: Arm
    how: How
    by: By = "loss"
    found: dict[Place, Found] = field(default_factory=dict)

    def wanted(self) -> list[Place]:
        """What to try next; nothing when the search is over."""
        sizes = [len(values) for values in self.arm.sweep.values()]
        if self.how == "all":
            places = list(itertools.product(*map(range, sizes)))
        elif not self.found:
            places = [tuple(size // 2 for size in sizes)]
        else:
            places = neighbours(self.best, sizes)
        return [place for place in places if place not in self.found]

    @property
    def best(self) -> Place:
        """Of the places that scored best, the one that was tried first."""
        return min(self.found, key=lambda place: score(self.found[place], self.by))

    def ends(self, place: Place) -> list[str]:
        """Settings whose ladder begins or ends at this place, of two values or more."""
        lists = zip(self.arm.sweep.items(), place, strict=True)
        return [
            key
            for (key, values), i in lists
            if ladder(values) and len(values) > 1 and i in (0, len(values) - 1)
        ]

    def candidate(self, place: Place) -> Arm:
        """The arm with the values of this place, under the same name."""
        own: dict[str, object] = {
            key: values[i]
            for (key, values), i in zip(self.arm.sweep.items(), place, strict=True)
        }
        rate = own.pop("learning_rate", self.arm.learning_rate)
        settings = {**self.arm.settings, **own}
        changes = {"settings": settings, "learning_rate": rate, "sweep": {}}
        return self.arm.model_copy(update=changes)


def candidates(arm: Arm) -> list[Arm]:
    """The arm under every combination of its sweep's values, named alike."""
    search = Search(arm, "all")
    return [search.candidate(place) for place in search.wanted()]


def tries(arm: Arm, how: How) -> int:
    """How many settings a search tries; of a climb, one move along each list is reckoned."""
    if not arm.sweep:
        return 0
    most = math.prod(len(values) for values in arm.sweep.values())
    lists = len(arm.sweep)
    return most if how == "all" else min(most, 1 + 2 * lists + lists * (2 * lists - 1))


def neighbours(place: Place, sizes: list[int]) -> list[Place]:
    """Places that differ by one step in one list."""
    steps = [(i, step) for i in range(len(place)) for step in (-1, 1)]
    return [
        (*place[:i], place[i] + step, *place[i + 1 :])
        for i, step in steps
        if 0 <= place[i] + step < sizes[i]
    ]


def score(found: Found, by: By) -> tuple[int, float]:
    """Less is better, and a setting that learns nothing is never chosen for losing nothing.

    By loss: net loss of what reaches the level under every seed, then plasticity. By area:
    its mean, which counts 0 for what is not learnt.
    """
    plasticity, losses, areas = zip(*found, strict=True)
    if by == "area":
        return 0, -float(np.mean(areas))
    if np.isnan(losses).any():
        return 1, -float(np.mean(plasticity))
    return 0, float(np.mean(losses))
