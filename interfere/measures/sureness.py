"""How sure a model is of right and of wrong answers, before and after training."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64

from interfere.errors import InputError
from interfere.measures.rows import Labels
from interfere.measures.statistics import (
    RESAMPLES,
    Interval,
    mean_interval,
    percentiles,
    ratio,
    resampled_sums,
)


def sureness(
    before: Float[np.ndarray, " facts1"],
    after: Float[np.ndarray, " facts2"],
    right_before: Bool[np.ndarray, " facts3"],
    right_after: Bool[np.ndarray, " facts4"],
    clusters: Labels,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean confidence (or entropy) on right and on wrong answers: a row each.

    Columns: answers (right, wrong), facts_before, facts_after (how many), before, after,
    change (after - before), each with _low and _high (95 % over answers). Right before and
    right after are other facts: a change may come from which facts are right as well as
    from how sure the model is. NaN, with a warning, where there are none, or so few that a
    resample may hold none.

    Args:
        before: confidence (`models.confidence`), entropy, or any number a fact.
        after: the same of the same facts.
        right_before: whether the answer was right.
        right_after: likewise.
        clusters: one label a fact (its answer).
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: not the same facts four times, or a value that isn't finite.
    """
    values = {"before": before, "after": after}
    _check({**values, "right_before": right_before, "right_after": right_after})
    for name, numbers in values.items():
        if not np.isfinite(numbers).all():
            fact = int(np.argmin(np.isfinite(numbers)))
            raise InputError(f"{name}: the value of fact {fact} isn't finite; leave it out")
    rows = []
    for answers, flip in (("right", False), ("wrong", True)):
        first, second = (np.asarray(r, bool) ^ flip for r in (right_before, right_after))
        columns = np.stack([before * first, first, after * second, second], 1).astype(float)
        draws = resampled_sums(columns, clusters, resamples=resamples, seed=seed)
        row: dict[str, Any] = {
            "answers": answers,
            "facts_before": int(first.sum()),
            "facts_after": int(second.sum()),
        }
        for name in ("before", "after", "change"):
            row[name] = float(_part(columns.sum(0), name))
            ends = percentiles(_part(draws, name), clusters)
            row[f"{name}_low"], row[f"{name}_high"] = ends
        if any(np.isnan(row[f"{name}_low"]) for name in ("before", "after")):
            warnings.warn(
                f"sureness of {answers} answers is NaN: too few answers are {answers}, "
                f"{int(first.sum())} before and {int(second.sum())} after",
                stacklevel=2,
            )
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class ConfidentErrors:
    """Answers that were right before and are confidently wrong after."""

    count: int
    share: Interval
    """Of all facts, in [0, 1]."""
    of_lost: float
    """Of the facts that were lost (right before, wrong after); NaN where none was."""
    of_lost_low: float
    """NaN where a resample may hold none that was lost."""
    of_lost_high: float
    threshold: float


def confident_errors(
    right_before: Bool[np.ndarray, " facts1"],
    right_after: Bool[np.ndarray, " facts2"],
    confidence_after: Float[np.ndarray, " facts3"],
    clusters: Labels,
    *,
    threshold: float = 0.5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ConfidentErrors:
    """How much of what was lost came back as a confident falsehood.

    Args:
        right_before: whether each fact's answer was right.
        right_after: likewise.
        confidence_after: probability of the answer given after, in [0, 1].
        clusters: one label a fact (its answer).
        threshold: confidence from which an error counts as confident. At .5 the answer is
            more probable than all others together.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: not the same facts three times, or a confidence outside [0, 1].
    """
    _check({"right_before": right_before, "right_after": right_after,
            "confidence_after": confidence_after})  # fmt: skip
    if not ((confidence_after >= 0) & (confidence_after <= 1 + 1e-6)).all():
        raise InputError("confidence_after: a value lies outside [0, 1]")
    lost = np.asarray(right_before, bool) & ~np.asarray(right_after, bool)
    sure = lost & (confidence_after >= threshold)
    columns = np.stack([sure, lost], 1).astype(float)
    draws = ratio(resampled_sums(columns, clusters, resamples=resamples, seed=seed))
    return ConfidentErrors(
        count=int(sure.sum()),
        share=mean_interval(
            sure[None].astype(float), clusters, resamples=resamples, seed=seed
        ),
        of_lost=float(ratio(columns.sum(0))),
        **dict(
            zip(("of_lost_low", "of_lost_high"), percentiles(draws, clusters), strict=True)
        ),
        threshold=threshold,
    )


def _part(sums: Float64[np.ndarray, "... 4"], name: str) -> Float64[np.ndarray, "..."]:
    first, second = ratio(sums[..., :2]), ratio(sums[..., 2:])
    return {"before": first, "after": second, "change": np.asarray(second - first)}[name]


def _check(sides: dict[str, np.ndarray]) -> None:
    if len({len(values) for values in sides.values()}) != 1:
        sizes = ", ".join(f"{name} {len(values)}" for name, values in sides.items())
        raise InputError(f"expected one number for each of the same facts, got {sizes}")
