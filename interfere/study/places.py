"""Held-out facts of one arm at one hook and position, before and after."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere.errors import InputError
from interfere.measures.drift import drift
from interfere.measures.folds import Folds, fact_folds
from interfere.measures.probe_transfer import Readings, readings, together
from interfere.measures.rows import Labels
from interfere.measures.statistics import Interval, ratio_interval
from interfere.study.preparation import Say


@dataclass(frozen=True)
class Place:
    """One hook and position of an arm: held-out facts before, and after under each seed."""

    before: Float64[np.ndarray, "facts d"]
    after: list[Float64[np.ndarray, "facts d"]]
    folds: Folds | None
    """None: no two answers have facts enough for probes."""

    @cached_property
    def drift(self) -> Float64[np.ndarray, "seeds facts"]:
        """1 - cosine."""
        return np.stack([drift(self.before, after).drift for after in self.after])

    @cached_property
    def readings(self) -> Readings | None:
        """The answer as probes read it."""
        if self.folds is None:
            return None
        return together([readings(self.before, after, self.folds) for after in self.after])

    @cached_property
    def gaps(self) -> dict[str, Float64[np.ndarray, "seeds kept"]]:
        """`probe_erased` and `probe_misread` of each fact that has folds; empty without."""
        found = self.readings
        if found is None:
            return {}
        return {
            "probe_erased": found.before - found.retrained,
            "probe_misread": found.retrained - found.carried,
        }

    def of_forgotten(
        self, forgot: Float64[np.ndarray, "seeds facts"], answers: Labels
    ) -> dict[str, Interval]:
        """Both gaps among the facts that each seed forgot; empty where nothing was."""
        if self.folds is None or not (counted := forgot[:, self.folds.rows]).any():
            return {}
        labels = self.folds.labels(answers, "answers")
        found = {}
        for name, gap in self.gaps.items():
            if np.isnan(gap).any():  # a side where all rows are equal
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # too few: NaN in the table
                share = ratio_interval(gap * counted, counted, labels)
            found[f"{name}_forgotten"] = share.against(0.0)
        return found


def folds_of(facts: pd.DataFrame, say: Say) -> Folds | None:
    """Folds of the answers' probes; says why where there can be none."""
    try:
        return fact_folds(facts)
    except InputError as reason:
        say(f"no probes: {reason}")
        return None
