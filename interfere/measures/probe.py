"""Probes: what can a linear reader find in the activations, and what could it anyway?"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int
from torch import Tensor

from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.measures.control_task import control_labels, recurring
from interfere.measures.fold_readers import Kind, fold_readers, is_constant, read
from interfere.measures.folds import FOLDS, LEAST, Folds, fact_folds
from interfere.measures.interval_columns import corrected, interval_columns
from interfere.measures.rows import Labels
from interfere.measures.statistics import Interval, mean_interval
from interfere.models.layers import layer

CONTROLS = 3
"""Draws of the control task."""


@dataclass(frozen=True)
class Probe:
    """How often a linear probe reads the label of facts that it was not trained on."""

    accuracy: Interval
    """Share of the facts read right, in [0, 1]; its `null` is `chance`."""
    chance: float
    """Share of the commonest class."""
    selectivity: Interval
    """Accuracy less that on labels drawn at random for each type; NaN without types."""
    recurring: float
    """Share of the facts whose type is in another fold too. Near 0, no probe can learn the
    control task, and selectivity is accuracy beyond chance."""
    gain: Interval
    """Accuracy less that of the same probe on the baseline; NaN without one."""
    classes: int
    facts: int
    left_out: int
    """Facts of classes that are too small to be probed."""


def probe(
    x: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    folds: Folds,
    *,
    clusters: Labels,
    types: Labels | None = None,
    baseline: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."] | None = None,
    kind: Kind = "discriminant",
    resamples: int = 2000,
    seed: int = 0,
    name: str = "activations",
) -> Probe:
    """Cross-validated accuracy, selectivity, and gain over a baseline.

    Blind to shifts and to rescaling of each dimension; not to rotations, since dimensions
    are scaled one by one. Intervals (95 %) resample clusters of the facts that were read:
    they say nothing of other models, and count the trained probes as given. NaN, with a
    warning, where all rows are equal.

    Args:
        x: one row a fact, for all facts that `folds` were made from.
        folds: which facts are read, by which probe; see `fact_folds`.
        clusters: one label a fact, its answer.
        types: one label a fact for the control task: what recurs and does not decide the
            class, such as the subject's last token.
        baseline: one row a fact: the embedding layer's; see `embedding_rows`.
        kind: of probe; see `fold_readers`.
        resamples: of the bootstrap.
        seed: of the control task and the bootstrap.
        name: says in errors and warnings what they are about.

    Raises:
        InputError: rows or labels that don't match the folds, or a value that isn't finite.

    Source: selectivity: Hewitt & Liang 2019, arXiv 1909.03368.
    """
    answers = folds.labels(clusters, f"{name}, clusters")

    def summary(values: Float64[np.ndarray, " kept"]) -> Interval:
        if np.isnan(values).any():
            nan = float("nan")
            return Interval(nan, nan, nan, nan, nan, nan)
        return mean_interval(values[None], answers, resamples=resamples, seed=seed)

    rows = folds.kept(x, name)
    right = _right(rows, folds.codes, folds, kind, name)
    control, again = np.full(len(right), np.nan), float("nan")
    if types is not None:
        marks = folds.labels(types, f"{name}, types")
        again = recurring(marks, folds.fold)
        draws = [control_labels(folds.codes, marks, seed=seed + i) for i in range(CONTROLS)]
        control = np.mean([_right(rows, draw, folds, kind, name) for draw in draws], axis=0)
    plain = np.full(len(right), np.nan)
    if baseline is not None:
        below = folds.kept(baseline, f"{name}, baseline")
        plain = _right(below, folds.codes, folds, kind, f"{name}, baseline")
    return Probe(
        accuracy=summary(right).against(folds.chance),
        chance=folds.chance,
        selectivity=summary(right - control),
        recurring=again,
        gain=summary(right - plain),
        classes=len(folds.classes),
        facts=len(folds.rows),
        left_out=folds.facts - len(folds.rows),
    )


def probes(
    recordings: Recording | Sequence[Recording],
    *,
    baseline: Float[np.ndarray, "n ..."] | None,
    labels: Literal["answer", "relation"] | Labels = "answer",
    kind: Kind = "discriminant",
    count: int = FOLDS,
    least: int = LEAST,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """A probe at each hook and position: a row each, in forward order.

    Columns: hook, layer (missing outside the blocks), position, then the fields of `Probe`,
    each interval as `…`, `…_low`, `…_high` and `…_smallest`, of selectivity and gain
    also `…_p` and `…_p_holm` (over hooks and positions). The control task's types are
    the last tokens of the subjects. Known against unknown: give both recordings and
    `labels=["known"] * n + ["unknown"] * m`.

    Args:
        recordings: of one model, with the position subject_last; several are read as one.
        baseline: one row a fact, the embedding layer's (`embedding_rows`); None: no gain.
        labels: what is to be read: a column, or one label a fact.
        kind: of probe; see `fold_readers`.
        count: folds.
        least: facts a class; smaller classes are left out.
        resamples: of the bootstrap.
        seed: of the folds, the control task and the bootstrap.

    Raises:
        InputError: recordings of different models, no hook or position in common, no
            subject_last, fewer than two classes of that size, or as in `probe`.
    """
    together = [recordings] if isinstance(recordings, Recording) else list(recordings)
    hooks, positions = _common(together)
    table = pd.concat([recording.table for recording in together], ignore_index=True)
    folds = fact_folds(table, labels, count=count, least=least, seed=seed)
    types = [
        int(tokens[place])
        for recording in together
        for tokens, place in zip(
            recording.tokens, recording.at("subject_last"), strict=True
        )
    ]
    rows = []
    for position, hook in product(positions, hooks):
        found = probe(
            np.concatenate([recording[hook, position].numpy() for recording in together]),
            folds,
            clusters=table["answer"],
            types=types,
            baseline=baseline,
            kind=kind,
            resamples=resamples,
            seed=seed,
            name=f"{hook}/{position}",
        )
        rows.append(
            {"hook": hook, "layer": layer(hook), "position": position} | _flat(found)
        )
    found = corrected(pd.DataFrame(rows), ["selectivity", "gain"])
    return found.astype({"layer": "Int64"})


def _right(
    x: Float64[np.ndarray, "n d"],
    codes: Int[np.ndarray, " n"],
    folds: Folds,
    kind: Kind,
    name: str,
) -> Float64[np.ndarray, " n"]:
    if is_constant(x):
        warnings.warn(f"{name}: the probe is NaN: all rows are equal", stacklevel=3)
        return np.full(len(x), np.nan)
    readers = fold_readers(x, codes, folds.fold, kind)
    return (read(readers, x, folds.fold) == codes).astype(np.float64)


def _common(recordings: Sequence[Recording]) -> tuple[list[str], list[str]]:
    first, *others = recordings
    for other in others:
        if other.attributes["weights"] != first.attributes["weights"]:
            raise InputError(
                f"{other.path} was recorded with the weights {other.attributes['weights']}, "
                f"but {first.path} with {first.attributes['weights']}; a probe reads one model"
            )
    hooks = [name for name in first.hooks if all(name in r.hooks for r in others)]
    positions = [p for p in first.positions if all(p in r.positions for r in others)]
    if not (hooks and positions):
        raise InputError(
            f"{first.path} and {others[-1].path} have no "
            f"{'position' if hooks else 'hook'} in common; record both with one list"
        )
    return hooks, positions


def _flat(found: Probe) -> dict[str, float]:
    intervals = interval_columns(
        accuracy=found.accuracy, selectivity=found.selectivity, gain=found.gain
    )
    names = ("chance", "recurring", "classes", "facts", "left_out")
    return intervals | {name: getattr(found, name) for name in names}
