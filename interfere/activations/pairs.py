"""Two recordings of the same questions, before and after."""

from dataclasses import dataclass

import numpy as np

from interfere.activations.activations import Activations
from interfere.activations.recording import Recording
from interfere.errors import InputError


@dataclass(frozen=True)
class Pair:
    """Recordings that `pair` found to be of the same facts, row by row."""

    before: Recording
    after: Recording
    hooks: list[str]
    """In both, in forward order."""
    positions: list[str]
    """In both."""

    def __getitem__(self, key: tuple[str, str]) -> tuple[Activations, Activations]:
        """Activations at (hook, position): before, after; row i is fact i in both."""
        return self.before[key], self.after[key]


def pair(before: Recording, after: Recording) -> Pair:
    """Pair two recordings fact by fact.

    Raises:
        InputError: other facts, prompts or token ids, or no hook or position in common.
    """
    if len(before) != len(after):
        raise InputError(
            f"{after.path} holds {len(after)} facts, but {before.path} holds "
            f"{len(before)}; record both on the same facts"
        )
    for row, (old, new) in enumerate(zip(before.prompts, after.prompts, strict=True)):
        if old != new:
            raise InputError(
                f"{after.path}: prompt {row} is {new!r}, but {before.path} has "
                f"{old!r}; record both on the same facts, in one order"
            )
    for row, (ours, theirs) in enumerate(zip(before.tokens, after.tokens, strict=True)):
        if not np.array_equal(ours, theirs):
            raise InputError(
                f"{after.path}: prompt {row}, {after.prompts[row]!r}, is tokenised as "
                f"{theirs.tolist()}, but {before.path} has {ours.tolist()}; record both "
                "with one tokenizer and the same answers"
            )
    hooks = [name for name in before.hooks if name in after.hooks]
    positions = [name for name in before.positions if name in after.positions]
    if not (hooks and positions):
        what = "position" if hooks else "hook"
        raise InputError(
            f"{after.path} and {before.path} have no {what} in common; record both with "
            "one list"
        )
    return Pair(before, after, hooks, positions)
