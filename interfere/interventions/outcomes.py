"""What came of asking a model again with something in it changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.asking import Scores
from interfere.measures.holm import holm
from interfere.measures.permutation import sign_flip_test
from interfere.measures.statistics import Interval, mean_interval, ratio_interval

RESAMPLES = 2000


@dataclass(frozen=True)
class Outcomes:
    """One model, the target, asked with parts of another's, the source's, in it."""

    cells: pd.DataFrame
    """A row a change that was tried: hook, position, and what else tells it from others."""
    logprob: Float64[np.ndarray, "cells facts"]
    """Nats: the canonical answer and its end, under each change."""
    right: Bool[np.ndarray, "cells facts"]
    """As `Scores.right`, under each change."""
    source: Scores
    """Of the model that activations were taken from, as it is."""
    target: Scores
    """Of the model that was asked, as it is."""
    facts: tuple[str, ...]
    """Ids, in order."""
    answers: tuple[str, ...]
    """Of each fact: what moves together, and is resampled together."""

    def table(self, *, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
        """`outcomes_table` of these alone."""
        return outcomes_table([self], resamples=resamples, seed=seed)


def collect(
    cells: pd.DataFrame,
    facts: FactSet,
    found: Iterable[tuple[Sequence[int], Sequence[Scores]]],
) -> Outcomes:
    """Batches of facts with the scores of source, target and each cell, in the facts' order."""
    logprob = np.full((len(cells) + 2, len(facts)), np.nan)
    right = np.zeros(logprob.shape, dtype=bool)
    for rows, scores in found:
        logprob[:, rows] = [one.logprob for one in scores]
        right[:, rows] = [one.right for one in scores]
    return Outcomes(
        cells=cells,
        logprob=logprob[2:],
        right=right[2:],
        source=Scores(logprob[0], right[0]),
        target=Scores(logprob[1], right[1]),
        facts=tuple(facts.ids),
        answers=tuple(fact.answer for fact in facts),
    )


def outcomes_table(
    seeds: Sequence[Outcomes], *, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """A row a change, over the seeds of an arm: averaged, answers resampled.

    Columns beside those of `cells`, each (but counts) with `_low`, `_high` (95 %),
    `_smallest` (the smallest difference from 0 that could have shown):

    - recovered: Σ(patched - target) / Σ(source - target) of log-probabilities, over facts
      (and seeds): 0 where the change does nothing, 1 where it makes the target answer as
      the source does; may lie outside. NaN, with a warning, where the two models' answers
      are as probable as each other.
    - gain: mean of patched - target, nats a fact. gain_p: of a sign-flip test by answer
      (`measures.permutation`), which is that of `recovered` too: both are 0 together;
      p_holm: the same over all changes of the table.
    - back: of facts right in the source and wrong in the target, the share right now. These
      were chosen by being wrong once, so near misses flip back under any change: read it
      beside `recovered`, which has no such bias over facts chosen by the source alone.
    - broken: of facts wrong in the source and right in the target, the share wrong now.
    - kept: of facts right in both, the share that still is.

    `back_of`, `broken_of`, `kept_of` count such facts, over all seeds; a share of none is
    NaN.

    Raises:
        InputError: no outcomes, or of other changes or facts.
    """
    _check_same(seeds)
    answers = seeds[0].answers
    options = {"resamples": resamples, "seed": seed}
    source, target = (
        np.stack([getattr(one, side).logprob for one in seeds])
        for side in ("source", "target")
    )
    could, does = (
        np.stack([getattr(one, side).right for one in seeds])
        for side in ("source", "target")
    )
    among = {"back": could & ~does, "broken": ~could & does, "kept": could & does}
    rows = []
    for cell in range(len(seeds[0].cells)):
        patched = np.stack([one.logprob[cell] for one in seeds])
        right = np.stack([one.right[cell] for one in seeds])
        moved = patched - target
        row = _columns(
            "recovered", ratio_interval(moved, source - target, answers, **options)
        )
        row |= _columns("gain", mean_interval(moved, answers, **options))
        row["gain_p"] = sign_flip_test(moved, answers, seed=seed).p_value
        for name, chosen in among.items():
            met = ~right if name == "broken" else right
            row |= _columns(name, _share(met & chosen, chosen, answers, options))
            row[f"{name}_of"] = int(chosen.sum())
        rows.append(row)
    table = pd.concat([seeds[0].cells, pd.DataFrame(rows)], axis=1)
    return table.assign(p_holm=holm(table["gain_p"].to_numpy()))


def _columns(name: str, interval: Interval) -> dict[str, float]:
    values = {
        "": interval.value,
        "_low": interval.low,
        "_high": interval.high,
        "_smallest": interval.smallest,
    }
    return {name + end: value for end, value in values.items()}


def _share(
    met: Bool[np.ndarray, "seeds facts"],
    chosen: Bool[np.ndarray, "seeds facts"],
    answers: Sequence[str],
    options: dict[str, int],
) -> Interval:
    """Of the chosen facts those that met; facts that no seed chose are no part of it."""
    some = chosen.any(0)
    labels = [answers[fact] for fact in np.flatnonzero(some).tolist()]
    if len(set(labels)) < 2:
        value = float(met.sum() / chosen.sum()) if some.any() else float("nan")
        nan = float("nan")
        return Interval(value, nan, nan, nan, nan, nan)
    found = ratio_interval(
        met[:, some].astype(float), chosen[:, some].astype(float), labels, **options
    )
    return found.against(0.0)


def _check_same(seeds: Sequence[Outcomes]) -> None:
    if not seeds:
        raise InputError("there are no outcomes to lay out as a table")
    for other in seeds[1:]:
        if other.facts != seeds[0].facts or not other.cells.equals(seeds[0].cells):
            raise InputError(
                "the seeds of a table need the same facts and changes; lay out others in a "
                "table of their own"
            )
