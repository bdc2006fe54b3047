"""Where each arm's old facts went: overlap, drift, its parts, probes, interference, loss."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere import cache
from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.measures.drift import drift
from interfere.measures.folds import Folds, fact_folds
from interfere.measures.movement import PARTS, movement
from interfere.measures.probe_transfer import Readings, readings, together
from interfere.measures.statistics import Interval, difference_interval, mean_interval
from interfere.study.factors import Runs
from interfere.study.fresh import is_fresh
from interfere.study.headline import control_arm, losses, main_pairs, read
from interfere.study.preparation import Prepared, Say

MECHANISMS, CONTRASTS = FILES = ("mechanisms.csv", "mechanism_contrasts.csv")
"""What `mechanisms` writes."""

POSITIONS = ("subject_last", "prompt_last")
"""Read at, where the study recorded them."""

PROBES = ("before", "carried", "retrained", "erased", "misread")
BY_RUN = ("interference_size", "interference_direction")


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


def mechanisms(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write the tables in FILES; nothing where they are there and as new as the results.

    Both have the columns measure, position (empty where it is of no position), value, low,
    high (95 %), seeds_low, seeds_high, smallest (difference that could have shown; missing
    where it isn't known). Intervals resample answers or leave them out, seeds averaged,
    where it doesn't say otherwise. At the hook where the study reads interference:

    - overlap of the arm's new facts with the old ones, at the format checkpoint
      (`measures.subspace_overlap`; value and ends are the means of the seeds' own, one for
      natural subjects, which no seed changes);
    - drift: mean 1 - cosine; drift_beyond_control: less the Known-only control's;
    - common, residual, whole: parts of the movement (`measures.movement`);
    - probe_…: `measures.probe_transfer.ProbeTransfer`'s shares for the answer, all facts;
    - interference_size, interference_direction (`measures.interference`; likewise the means
      of the seeds' own; NaN where one seed's is);
    - net_loss_end, net_loss_end_beyond: as in headline.csv.

    mechanisms.csv has a column arm. mechanism_contrasts.csv has more and less, the arms of
    `main_pairs`, whose difference it gives, and shows; behaviour's row is net_loss_end.

    Args:
        prepared: the study's common start.
        runs: jobs and their folders.
        folder: the study's results.
        say: is told in a line what goes on.
    """
    if all(is_fresh(folder / name) for name in FILES):
        return
    say("where old facts went: drift, parts of the movement, probes")
    found = _Arms(prepared, runs, folder, say)
    tables = {MECHANISMS: found.table(), CONTRASTS: found.contrasts()}
    for name, table in tables.items():
        with cache.whole_file(folder / name) as draft:
            table.to_csv(draft, index=False)


class _Arms:
    """The study's arms at its hook, each read once."""

    def __init__(self, prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
        self._prepared, self._runs = prepared, runs
        self._study, self._results, own = read(folder)
        self._losses = losses(self._study, own)
        self._old = prepared.recording("held_out", prepared.split.held_out)
        facts = self._old.table
        self._answers, self._relations = facts["answer"], facts["relation"]
        self._folds = _folds(facts, say)
        self._positions = [p for p in POSITIONS if p in self._old.positions]
        self._arms = [arm.name for arm in self._study.arms]
        self._places = {
            (arm, position): self._place(arm, position)
            for arm in self._arms
            for position in self._positions
        }

    def table(self) -> pd.DataFrame:
        rows = []
        for arm in self._arms:
            for position in self._positions:
                own = {"arm": arm, "position": position}
                rows += [own | row for row in self._at(arm, position)]
            rows += [{"arm": arm} | row for row in self._of_runs(arm)]
            lost = self._losses[arm, "end"]
            rows.append({"arm": arm} | _row("net_loss_end", lost.interval))
            if lost.beyond_control is not None:
                rows.append({"arm": arm} | _row("net_loss_end_beyond", lost.beyond_control))
        return _ordered(pd.DataFrame(rows), ["arm"])

    def contrasts(self) -> pd.DataFrame:
        rows = []
        for more, less in main_pairs(self._study):
            own = {"more": more, "less": less}
            for position in self._positions:
                found = self._difference(more, less, position)
                rows += [
                    own | {"position": position, "shows": interval.shows} | row
                    for row, interval in found
                ]
            a, b = self._losses[more, "end"], self._losses[less, "end"]
            lost = difference_interval(a.net, b.net, a.clusters)
            rows.append(own | {"shows": lost.shows} | _row("net_loss_end", lost))
        if not rows:
            return pd.DataFrame(columns=["more", "less", *_COLUMNS, "shows"])
        return _ordered(pd.DataFrame(rows), ["more", "less"], ["shows"])

    def _place(self, arm: str, position: str) -> Place:
        hook = self._prepared.hook
        after = [
            open_recording(path / "held_out-after.h5")[hook, position].numpy()
            for job, path in self._runs
            if job.arm.name == arm
        ]
        return Place(
            before=self._old[hook, position].numpy().astype(np.float64),
            after=[side.astype(np.float64) for side in after],
            folds=self._folds,
        )

    def _at(self, arm: str, position: str) -> list[dict[str, object]]:
        place = self._places[arm, position]
        rows = [_row("drift", mean_interval(place.drift, self._answers))]
        control = control_arm(self._study)
        if control is not None and arm != control:
            beyond = difference_interval(
                place.drift, self._places[control, position].drift, self._answers
            )
            rows.append(_row("drift_beyond_control", beyond))
        parts = movement(place.before, place.after, self._relations, self._answers)
        rows += [_row(part, getattr(parts, part)) for part in PARTS]
        if place.readings is not None and self._folds is not None:
            answers = self._folds.labels(self._answers, "answers")
            probes = place.readings.summary(answers, chance=self._folds.chance)
            rows += [_row(f"probe_{name}", getattr(probes, name)) for name in PROBES]
        return rows + self._overlap(arm, position)

    def _overlap(self, arm: str, position: str) -> list[dict[str, object]]:
        """As the results have it, the mean over seeds of value and ends."""
        keys = next(own.keys for own in self._study.arms if own.name == arm)
        trains = next(own.trains_new for own in self._study.arms if own.name == arm)
        table = self._results
        at = (table["hook"] == self._prepared.hook) & (table["position"] == position)
        own = table[at & (table["keys"] == keys) & (table["arm"] == "format checkpoint")]
        return _seeds_mean(own, "overlap") if trains else []

    def _of_runs(self, arm: str) -> list[dict[str, object]]:
        own = self._results[self._results["arm"] == arm]
        found = []
        for name in BY_RUN:
            position = own.loc[own["metric"] == name, "position"]
            rows = _seeds_mean(own, name)
            found += [row | {"position": position.iloc[0]} for row in rows]
        return found

    def _difference(
        self, more: str, less: str, position: str
    ) -> list[tuple[dict[str, object], Interval]]:
        a, b = self._places[more, position], self._places[less, position]
        found = {"drift": difference_interval(a.drift, b.drift, self._answers)}
        parts = movement(a.before, a.after, self._relations, self._answers, less=b.after)
        found |= {part: getattr(parts, part) for part in PARTS}
        if a.readings is not None and b.readings is not None and self._folds is not None:
            answers = self._folds.labels(self._answers, "answers")
            one, two = a.readings, b.readings
            pairs = {
                "probe_erased": (one.before - one.retrained, two.before - two.retrained),
                "probe_misread": (one.retrained - one.carried, two.retrained - two.carried),
            }
            for name, (first, second) in pairs.items():
                if not np.isnan(first - second).any():  # a side where all rows are equal
                    found[name] = difference_interval(first, second, answers)
        return [(_row(name, interval), interval) for name, interval in found.items()]


def _folds(facts: pd.DataFrame, say: Say) -> Folds | None:
    try:
        return fact_folds(facts)
    except InputError as reason:
        say(f"no probes: {reason}")
        return None


_COLUMNS = [
    "position",
    "measure",
    "value",
    "low",
    "high",
    "seeds_low",
    "seeds_high",
    "smallest",
]


def _row(measure: str, found: Interval) -> dict[str, object]:
    names = [field.name for field in fields(Interval) if field.name != "null"]
    return {"measure": measure} | {name: getattr(found, name) for name in names}


def _seeds_mean(own: pd.DataFrame, name: str) -> list[dict[str, object]]:
    values = own.loc[own["metric"] == name, "value"]
    if values.empty:
        return []
    ends = {
        end: own.loc[own["metric"] == f"{name}_{end}", "value"].mean(skipna=False)
        for end in ("low", "high")
    }
    seeds = {"seeds_low": values.min(), "seeds_high": values.max()}
    return [{"measure": name, "value": values.mean(skipna=False)} | ends | seeds]


def _ordered(
    table: pd.DataFrame, first: Sequence[str], last: Sequence[str] = ()
) -> pd.DataFrame:
    return table.reindex(columns=[*first, *_COLUMNS, *last])
