"""What each arm answers at its end: new facts, and held-out facts before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere.study.outcomes import seeds_of


@dataclass(frozen=True)
class Learnt:
    """An arm's new facts at its end."""

    right: Float64[np.ndarray, "seeds facts"]
    """1 or 0, in the order of answers."""
    clusters: np.ndarray
    """Each fact's answer."""


def learnt(facts: pd.DataFrame, arm: str) -> Learnt | None:
    """What an arm learnt; None where it was taught nothing new.

    Subjects that are drawn anew each seed keep their answers, so column i is one answer's
    under every seed and in every arm, but not one subject's.

    Args:
        facts: the study's facts.parquet.
        arm: which arm.

    Raises:
        InputError: no such arm.
    """
    right, clusters = [], np.empty(0)
    for seed in seeds_of(facts, arm):
        new = _set(facts, arm, seed, "unknown")
        if new.empty:
            return None
        last = new[new["step"] == new["step"].max()].sort_values(["answer", "fact"])
        right.append(last["right"].to_numpy(dtype=float))
        clusters = last["answer"].to_numpy()
    return Learnt(np.stack(right), clusters)


def end_change(
    facts: pd.DataFrame, arm: str, column: Literal["right", "logprob"], ids: Sequence[str]
) -> tuple[Float64[np.ndarray, "seeds facts"], Float64[np.ndarray, "seeds facts"]]:
    """A column of the held-out facts before the first step and after the last.

    Args:
        facts: the study's facts.parquet.
        arm: which arm.
        column: right (1 or 0), or log-probability of the answer (nats).
        ids: held-out facts, in the order that is wanted.

    Raises:
        InputError: no such arm.
    """
    ends: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for seed in seeds_of(facts, arm):
        held = _set(facts, arm, seed, "held_out")
        for found, step in zip(ends, (0, held["step"].max()), strict=True):
            there = held[held["step"] == step].set_index("fact")[column]
            found.append(there.loc[list(ids)].to_numpy(dtype=float))
    return np.stack(ends[0]), np.stack(ends[1])


def _set(facts: pd.DataFrame, arm: str, seed: int, name: str) -> pd.DataFrame:
    own = (facts["arm"] == arm) & (facts["seed"] == seed) & (facts["set"] == name)
    return facts[own]
