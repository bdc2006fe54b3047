"""Where each arm's old facts went: overlap, drift, its parts, probes, interference, loss."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from interfere import cache
from interfere.activations.recording import Recording, open_recording
from interfere.measures.holm import holm
from interfere.measures.interference_parts import interference_parts
from interfere.measures.movement import PARTS, movement
from interfere.measures.rows import Array
from interfere.measures.statistics import (
    Interval,
    difference_interval,
    mean_interval,
)
from interfere.study.drawn_arms import drawn_arms
from interfere.study.end_outcomes import end_change, learnt
from interfere.study.factors import Runs
from interfere.study.fresh import is_fresh
from interfere.study.headline import control_arm, losses, main_pairs, read
from interfere.study.mechanism_rows import ordered, row, seeds_mean
from interfere.study.places import Place, folds_of
from interfere.study.preparation import Prepared, Say

MECHANISMS, CONTRASTS = FILES = ("mechanisms.csv", "mechanism_contrasts.csv")
"""What `mechanisms` writes."""

POSITIONS = ("subject_last", "prompt_last")
"""Read at, where the study recorded them."""

PROBES = ("before", "carried", "retrained", "erased", "misread")
SIZES = dict(zip(PARTS, ("common", "residual", "size"), strict=True))
"""What the parts of interference are called."""


def mechanisms(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write the tables in FILES; nothing where they are there and as new as the results.

    Both have the columns measure, position (empty where it is of no position), value, low,
    high (95 %), seeds_low, seeds_high, smallest (difference that could have shown; missing
    where it isn't known). Intervals resample answers, leave them out or halve the facts by
    them, seeds averaged, where it doesn't say otherwise. At the hook where the study reads
    interference:

    - overlap of the arm's new facts with the old ones, at the format checkpoint
      (`measures.subspace_overlap`; value and ends are the means of the seeds' own, one for
      natural subjects, which no seed changes);
    - drift: mean 1 - cosine; drift_beyond_control: less the Known-only control's;
    - common, residual, whole: parts of the movement (`measures.movement`); beyond_common,
      beyond_residual, beyond_whole: of that beyond the control's;
    - probe_…: `measures.probe_transfer.ProbeTransfer`'s shares for the answer, of the facts
      whose answer has facts enough for a probe (`measures.folds.LEAST`);
    - probe_erased_forgotten, probe_misread_forgotten: the same among those that the arm
      forgot, each seed's own;
    - interference_common, interference_residual, interference_size: parts of the size
      (`measures.interference_parts`); interference_direction (`measures.interference`;
      means of the seeds' own; NaN where one seed's is);
    - behavioural_interference (`measures.behaviour`), in nats a fact;
    - plasticity at the end; net_loss_end, net_loss_end_beyond: as in headline.csv.

    mechanisms.csv has a column arm, and of what activations and probes say facts (the mean
    over seeds where each has its own) and answers: intervals of fewer than 40 answers are
    wide and may cover less than they say. mechanism_contrasts.csv has more and less, the arms of
    `main_pairs`, whose difference it gives; shows: whether the interval excludes 0, each by
    itself; p (two-sided, of that interval) and p_holm, over all positions and measures of
    the pair.

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
    if not found.positions:
        say(
            f"no movement or probes: the study records neither {' nor '.join(POSITIONS)} "
            "(record.positions)"
        )
    tables = {MECHANISMS: found.table(), CONTRASTS: found.contrasts()}
    for name, table in tables.items():
        with cache.whole_file(folder / name) as draft:
            table.to_csv(draft, index=False)


class _Arms:
    """The study's arms at its hook, each read once."""

    def __init__(self, prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
        self._prepared, self._runs = prepared, runs
        self._study, self._results, self._facts = read(folder)
        self._losses = losses(self._study, self._facts)
        self._old = prepared.recording("held_out", prepared.split.held_out)
        table = self._old.table
        self._ids = table["id"].tolist()
        self._answers, self._relations = table["answer"], table["relation"]
        self._folds = folds_of(table, say)
        self.positions = [p for p in POSITIONS if p in self._old.positions]
        self._arms = [arm.name for arm in self._study.arms]
        self._control = control_arm(self._study)
        self._drawn = drawn_arms(prepared, runs)
        self._places = {}
        for position in self.positions:
            before = self._rows(self._old, position)
            for arm in self._arms:
                self._places[arm, position] = self._place(arm, position, before)

    def table(self) -> pd.DataFrame:
        rows = []
        for arm in self._arms:
            own = [found for p in self.positions for found in self._at(arm, p)]
            own += [*self._interference(arm), *self._behaviour(arm)]
            rows += [{"arm": arm} | found for found in own]
        return ordered(rows, ["arm"], ["facts", "answers"])

    def contrasts(self) -> pd.DataFrame:
        rows = []
        for more, less in main_pairs(self._study):
            pair = {"more": more, "less": less}
            for position, measure, found in self._differences(more, less):
                tested = {"shows": found.shows, "p": found.p_value}
                rows.append(pair | row(measure, found, position) | tested)
        table = ordered(rows, ["more", "less"], ["shows", "p"])
        by_pair = table.groupby(["more", "less"], sort=False)["p"]
        return table.assign(p_holm=by_pair.transform(lambda p: holm(p.to_numpy(float))))

    def _rows(self, recording: Recording, position: str) -> Array:
        found: Array = recording[self._prepared.hook, position].numpy()
        return found.astype(np.float64)

    def _place(self, arm: str, position: str, before: Array) -> Place:
        ends = [
            open_recording(path / "held_out-after.h5")
            for job, path in self._runs
            if job.arm.name == arm
        ]
        return Place(before, [self._rows(end, position) for end in ends], self._folds)

    def _at(self, arm: str, position: str) -> list[dict[str, object]]:
        place = self._places[arm, position]
        found = {"drift": mean_interval(place.drift, self._answers)}
        if self._control is not None and arm != self._control:
            control = self._places[self._control, position]
            found["drift_beyond_control"] = difference_interval(
                place.drift, control.drift, self._answers
            )
        parts = movement(place.before, place.after, self._relations, self._answers)
        found |= {part: getattr(parts, part) for part in PARTS}
        found |= self._beyond(arm, position)
        every = {"facts": len(self._ids), "answers": self._answers.nunique()}
        rows = [row(name, interval, position) | every for name, interval in found.items()]
        return [*rows, *self._probes(arm, position), *self._overlap(arm, position)]

    def _probes(self, arm: str, position: str) -> Iterable[dict[str, object]]:
        """Of the facts whose answer has enough of them."""
        place = self._places[arm, position]
        if place.readings is None or self._folds is None:
            return
        before, after = end_change(self._facts, arm, "right", self._ids)
        answers = self._folds.labels(self._answers, "answers")
        probes = place.readings.summary(answers, chance=self._folds.chance)
        kept = {"facts": len(answers), "answers": len(self._folds.classes)}
        for name in PROBES:
            yield row(f"probe_{name}", getattr(probes, name), position) | kept
        forgot = before * (1 - after)
        counted = forgot[:, self._folds.rows]
        lost = {
            "facts": counted.sum(1).mean(),
            "answers": len(set(answers[counted.any(0)])),
        }
        for name, interval in place.of_forgotten(forgot, self._answers).items():
            yield row(name, interval, position) | lost

    def _beyond(
        self, arm: str, position: str, less: str | None = None
    ) -> dict[str, Interval]:
        """Parts of the movement beyond the control's; none of the control itself."""
        if self._control is None or self._control in (arm, less):
            return {}
        place = self._places[arm, position]
        parts = movement(
            place.before,
            place.after,
            self._relations,
            self._answers,
            less=[] if less is None else self._places[less, position].after,
            control=self._places[self._control, position].after,
        )
        return {f"beyond_{part}": getattr(parts, part) for part in PARTS}

    def _overlap(self, arm: str, position: str) -> list[dict[str, object]]:
        """As the results have it, the mean over seeds of value and ends."""
        own = next(own for own in self._study.arms if own.name == arm)
        table = self._results
        at = (table["hook"] == self._prepared.hook) & (table["position"] == position)
        rows = table[
            at & (table["keys"] == own.keys) & (table["arm"] == "format checkpoint")
        ]
        return seeds_mean(rows, "overlap", position) if own.trains_new else []

    def _interference(self, arm: str) -> list[dict[str, object]]:
        if arm not in self._drawn:
            return []
        position = self._study.interference.position
        own = self._results[self._results["arm"] == arm]
        rows = [
            row(f"interference_{name}", found, position)
            for name, found in self._sizes(arm).items()
        ]
        return rows + seeds_mean(own, "interference_direction", position)

    def _sizes(self, arm: str, less: str | None = None) -> dict[str, Interval]:
        found = interference_parts(
            self._rows(self._old, self._study.interference.position),
            self._drawn[arm],
            self._relations,
            self._answers,
            less=None if less is None else self._drawn[less],
        )
        return {SIZES[part]: getattr(found, part) for part in PARTS}

    def _fall(self, arm: str) -> Array:
        """Of the answers' log-probability, a row a seed."""
        before, after = end_change(self._facts, arm, "logprob", self._ids)
        return before - after

    def _behaviour(self, arm: str) -> Iterable[dict[str, object]]:
        new = learnt(self._facts, arm)
        if new is not None:
            yield row("plasticity", mean_interval(new.right, new.clusters))
            if self._control is not None:
                beyond = difference_interval(
                    self._fall(arm), self._fall(self._control), self._answers
                )
                yield row("behavioural_interference", beyond)
        lost = self._losses[arm, "end"]
        yield row("net_loss_end", lost.interval)
        if lost.beyond_control is not None:
            yield row("net_loss_end_beyond", lost.beyond_control)

    def _differences(
        self, more: str, less: str
    ) -> Iterable[tuple[str | None, str, Interval]]:
        for position in self.positions:
            for name, found in self._moved_apart(more, less, position).items():
                yield position, name, found
        if more in self._drawn and less in self._drawn:
            position = self._study.interference.position
            for name, found in self._sizes(more, less).items():
                yield position, f"interference_{name}", found
        if self._control is not None:  # the same control is taken off both
            falls = self._fall(more), self._fall(less)
            fall = difference_interval(*falls, self._answers)
            yield None, "behavioural_interference", fall
        new = [learnt(self._facts, arm) for arm in (more, less)]
        if new[0] is not None and new[1] is not None:
            apart = difference_interval(new[0].right, new[1].right, new[0].clusters)
            yield None, "plasticity", apart
        a, b = self._losses[more, "end"], self._losses[less, "end"]
        yield None, "net_loss_end", difference_interval(a.net, b.net, a.clusters)

    def _moved_apart(self, more: str, less: str, position: str) -> dict[str, Interval]:
        a, b = self._places[more, position], self._places[less, position]
        found = {"drift": difference_interval(a.drift, b.drift, self._answers)}
        parts = movement(a.before, a.after, self._relations, self._answers, less=b.after)
        found |= {part: getattr(parts, part) for part in PARTS}
        found |= self._beyond(more, position, less)
        if self._folds is not None:
            answers = self._folds.labels(self._answers, "answers")
            for name, gap in a.gaps.items():
                if not np.isnan(gap - b.gaps[name]).any():  # a side of equal rows
                    found[name] = difference_interval(gap, b.gaps[name], answers)
        return found
