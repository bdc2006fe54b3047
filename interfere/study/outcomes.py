"""Outcomes of held-out facts, seed by seed and fact by fact, at equal plasticity."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere.errors import InputError
from interfere.measures.behaviour import Crossing, crossing
from interfere.measures.statistics import (
    Interval,
    difference_interval,
    mean_interval,
    ratio_interval,
)

Level = float | Literal["end"]

Measured = Literal["held_out", "validation"]


@dataclass(frozen=True)
class Loss:
    """Held-out facts lost by one arm at one level of plasticity."""

    arm: str
    level: Level
    reached: bool
    """False if a seed never got there: the rest is then empty."""
    net: Float64[np.ndarray, "seeds facts"]
    """Right at the format checkpoint less right here, in [-1, 1]."""
    control: Float64[np.ndarray, "seeds facts"] | None
    """The same in the Known-only control at the same steps; None without a control."""
    clusters: np.ndarray
    """Each fact's answer."""

    @property
    def interval(self) -> Interval:
        """Net loss as it is."""
        return mean_interval(self.net, self.clusters)

    @property
    def beyond_control(self) -> Interval | None:
        """Net loss less the control's."""
        if self.control is None:
            return None
        return difference_interval(self.net, self.control, self.clusters)


def loss(
    facts: pd.DataFrame,
    arm: str,
    level: Level,
    *,
    control: str | None,
    measured: Measured = "held_out",
    repaired: bool = False,
) -> Loss:
    """Net loss of an arm where its plasticity first reaches `level`.

    Args:
        facts: the study's facts.parquet.
        arm: which arm.
        level: plasticity, or "end" for the last evaluation.
        control: the Known-only arm, read at the same steps; None for none.
        measured: the Known facts whose loss it is; settings are chosen on "validation".
        repaired: the arm's evaluations are of a repair, from the whole of it to none: there
            is no way from the start to the first of them, so none is drawn, and the control
            is read at its end.

    Raises:
        InputError: no such arm.
    """
    net, against, clusters = [], [], np.empty(0)
    for seed in seeds_of(facts, arm):
        run = _run(facts, arm, seed)
        there = _where(run, level, repaired=repaired)
        if not there.reached:
            return Loss(arm, level, False, np.empty((0, 0)), None, np.empty(0))
        held = _curve(run, measured)
        clusters = held.answers
        net.append(held.right[0] - there.of(held.right))
        if control is not None:
            other = _curve(_run(facts, control, seed), measured)
            same = other.at(held.steps)
            # A repair's evaluations all come after the whole of training.
            beside = same[-1] if repaired else there.of(same)
            against.append(other.right[0] - beside)
    return Loss(
        arm, level, True, np.stack(net), np.stack(against) if against else None, clusters
    )


def net_loss_ratio(more: Loss, less: Loss) -> Interval:
    """How many times as much one arm lost as another, each beyond the control's.

    Both losses must be reached. Without a control, of the losses as they are. NaN, with a
    warning, where the lesser loss may be 0.
    """
    (a, b) = (
        side.net if side.control is None else side.net - side.control
        for side in (more, less)
    )
    return ratio_interval(a, b, more.clusters)


def forgetting(facts: pd.DataFrame, arm: str) -> Interval:
    """(peak - final) / peak of held-out accuracy: the paper's forgetting.

    Each seed's peak is where that seed's own curve is highest, and stays there when
    answers are resampled, so the interval leaves out that the peak of a noisy curve lies
    too high (`measures.behaviour.forgetting`).

    Raises:
        InputError: no such arm.
    """
    lost, had, clusters = [], [], np.empty(0)
    for seed in seeds_of(facts, arm):
        held = _curve(_run(facts, arm, seed))
        clusters = held.answers
        peak = held.right[int(held.right.mean(1).argmax())]
        lost.append(peak - held.right[-1])
        had.append(peak)
    found = ratio_interval(np.stack(lost), np.stack(had), clusters)
    return found.against(0.0)


def of_arms(facts: pd.DataFrame, *arms: str | None) -> pd.DataFrame:
    """The rows of these arms: what is read of a study many times over is read faster."""
    return facts[facts["arm"].isin([arm for arm in arms if arm is not None])]


def seeds_of(facts: pd.DataFrame, arm: str) -> list[int]:
    """The seeds under which an arm was run.

    Raises:
        InputError: no such arm.
    """
    seeds = facts.loc[facts["arm"] == arm, "seed"].unique().tolist()
    if not seeds:
        arms = ", ".join(map(str, facts["arm"].unique()))
        raise InputError(f"the results hold no arm {arm!r}; there are {arms}")
    return [int(seed) for seed in seeds]


def _run(facts: pd.DataFrame, arm: str, seed: int) -> pd.DataFrame:
    return facts[(facts["arm"] == arm) & (facts["seed"] == seed)]


def _where(run: pd.DataFrame, level: Level, *, repaired: bool = False) -> Crossing:
    learnt = run[run["set"] == "unknown"].groupby("step")["right"].mean().sort_index()
    if learnt.empty:  # an arm that has nothing new to learn is read at its end
        steps = run.loc[run["set"] == "held_out", "step"].nunique()
        return crossing(np.zeros(steps), "end")
    if not repaired:
        return crossing(learnt.to_numpy(), level)
    there = crossing(learnt.to_numpy()[1:], level)
    return replace(there, left=there.left + 1, right=there.right + 1)


@dataclass(frozen=True)
class _Curve:
    steps: np.ndarray
    right: Float64[np.ndarray, "steps facts"]
    answers: np.ndarray

    def at(self, steps: np.ndarray) -> Float64[np.ndarray, "steps facts"]:
        """The outcomes after these steps.

        Raises:
            InputError: a step that was not evaluated.
        """
        places = {int(step): place for place, step in enumerate(self.steps)}
        if missing := [int(step) for step in steps if int(step) not in places]:
            raise InputError(f"the control was not evaluated at step {missing[0]}")
        return self.right[[places[int(step)] for step in steps]]


def _curve(run: pd.DataFrame, measured: Measured = "held_out") -> _Curve:
    held = run[run["set"] == measured]
    wide = held.pivot_table(index="step", columns="fact", values="right", aggfunc="first")
    order: dict[Hashable, str] = dict(zip(held["fact"], held["answer"], strict=True))
    answers = np.array([order[fact] for fact in wide.columns])
    return _Curve(wide.index.to_numpy(), wide.to_numpy(dtype=float), answers)
