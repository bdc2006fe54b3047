"""What a model answers before and after: lost, gained, forgotten, at equal learning."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Real

from interfere.errors import InputError


@dataclass(frozen=True)
class Behaviour:
    """The same facts asked twice. Counts of facts, but for `net_loss`, a share."""

    facts: int
    right_before: int
    right_after: int
    lost: int
    """Right before, wrong after."""
    gained: int
    """Wrong before, right after."""
    per_fact: Int[np.ndarray, " facts"]
    """1 lost, -1 gained, 0 neither: what intervals are made from."""

    @property
    def net_loss(self) -> float:
        """(lost - gained) / facts, in [-1, 1]."""
        return (self.lost - self.gained) / self.facts


def behaviour(before: Bool[np.ndarray, " n1"], after: Bool[np.ndarray, " n2"]) -> Behaviour:
    """Count what was lost and gained; element i is fact i in both.

    Raises:
        InputError: no facts, or not the same number twice.
    """
    _check_same({"before": before, "after": after})
    before, after = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    return Behaviour(
        facts=len(before),
        right_before=int(before.sum()),
        right_after=int(after.sum()),
        lost=int((before & ~after).sum()),
        gained=int((~before & after).sum()),
        per_fact=before.astype(int) - after.astype(int),
    )


def forgetting(curve: Real[np.ndarray, " points"]) -> float:
    """(peak - final) / peak of an accuracy by step: the paper's forgetting.

    In [0, 1]. Biased upward by noise, since the peak of a noisy curve lies too high. NaN,
    with a warning, where the peak is 0.

    Raises:
        InputError: an empty curve, or a NaN in it.
    """
    _check_curve("curve", curve)
    peak = float(curve.max())
    if peak == 0:
        warnings.warn("forgetting is NaN: nothing was ever right", stacklevel=2)
        return float("nan")
    return (peak - float(curve[-1])) / peak


@dataclass(frozen=True)
class BehaviouralInterference:
    """How much less probable old answers became than training alone would make them."""

    value: float
    """Nats a fact; above 0: the arm lost more than its control."""
    per_fact: Float64[np.ndarray, " facts"]


def behavioural_interference(
    before: Float[np.ndarray, " n1"],
    after: Float[np.ndarray, " n2"],
    control_before: Float[np.ndarray, " n3"],
    control_after: Float[np.ndarray, " n4"],
) -> BehaviouralInterference:
    """Mean fall of the answer's log-probability, less that in the Known-only control.

    Each argument: log-probability (nats) of every held-out fact's answer, in one order.

    Raises:
        InputError: not the same facts, or a value that isn't finite.
    """
    sides = {
        "before": before,
        "after": after,
        "control_before": control_before,
        "control_after": control_after,
    }
    _check_same(sides)
    for name, values in sides.items():
        if not np.isfinite(values).all():
            fact = int(np.argmin(np.isfinite(values)))
            raise InputError(f"{name}: the log-probability of fact {fact} isn't finite")
    a, b, c, d = (values.astype(np.float64) for values in sides.values())
    per_fact = (a - b) - (c - d)
    return BehaviouralInterference(float(per_fact.mean()), per_fact)


@dataclass(frozen=True)
class Crossing:
    """Where a plasticity curve first reaches a level."""

    reached: bool
    left: int
    """Index of the evaluation before the crossing."""
    right: int
    """Index of the evaluation at or after it."""
    weight: float
    """Share of the way from left to right, in [0, 1]."""

    def of(self, curve: Real[np.ndarray, "points *rest"]) -> Float64[np.ndarray, "*rest"]:
        """Another curve of the same steps there, linearly; all NaN if not reached.

        Axes after the first are kept, so outcomes a fact stay outcomes a fact.
        """
        values = np.asarray(curve, dtype=np.float64)
        if not self.reached:
            return np.full(values.shape[1:], np.nan)
        left, right = values[self.left], values[self.right]
        return np.asarray((1 - self.weight) * left + self.weight * right)


@dataclass(frozen=True)
class Matched:
    """A value where plasticity reaches a level."""

    value: float
    """NaN if the level was not reached."""
    reached: bool


def crossing(
    plasticity: Real[np.ndarray, " points"], level: float | Literal["end"]
) -> Crossing:
    """First place, by step, where plasticity is at `level`, linear between evaluations.

    A curve that starts at or above the level crosses it at its first evaluation; "end" is
    the last evaluation and always reached. A later fall below the level changes nothing.

    Raises:
        InputError: an empty curve, or a NaN in it.
    """
    _check_curve("plasticity", plasticity)
    if level == "end":
        last = len(plasticity) - 1
        return Crossing(True, last, last, 0.0)
    above = np.flatnonzero(plasticity >= level)
    if not len(above):
        return Crossing(False, 0, 0, 0.0)
    right = int(above[0])
    if right == 0:
        return Crossing(True, 0, 0, 0.0)
    low, high = float(plasticity[right - 1]), float(plasticity[right])
    return Crossing(True, right - 1, right, (level - low) / (high - low))


def at_plasticity(
    plasticity: Real[np.ndarray, " n1"],
    values: Real[np.ndarray, " n2"],
    level: float | Literal["end"],
) -> Matched:
    """The value where plasticity first reaches `level`: arms compared at equal learning.

    Element i of both curves is evaluation i, in order of step; see `crossing`. For
    outcomes a fact, use `crossing(plasticity, level).of(outcomes)`.

    Raises:
        InputError: curves of unlike length, empty, or with a NaN.
    """
    _check_same({"plasticity": plasticity, "values": values})
    _check_curve("values", values)
    there = crossing(plasticity, level)
    return Matched(float(there.of(values)), there.reached)


def _check_same(sides: dict[str, np.ndarray]) -> None:
    if len(lengths := {len(values) for values in sides.values()}) != 1 or lengths == {0}:
        sizes = ", ".join(f"{name} {len(values)}" for name, values in sides.items())
        raise InputError(f"expected one number for each of the same items, got {sizes}")


def _check_curve(name: str, curve: np.ndarray) -> None:
    if not len(curve) or np.isnan(curve).any():
        what = f"NaN at {int(np.argmax(np.isnan(curve)))}" if len(curve) else "nothing"
        raise InputError(f"{name}: expected a number for each evaluation, got {what}")
