"""What each predictor is worth in a model of all of them, on answers it was not fitted to."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, combinations
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold

from interfere.measures.rows import Labels, as_codes
from interfere.measures.statistics import Interval, ratio_interval

Features = Float64[np.ndarray, "seeds facts columns"]
Outcome = Float64[np.ndarray, "seeds facts"]
Kind = Literal["event", "score"]
Losses = Callable[[frozenset[int]], Outcome]

MOST = 8
"""Predictors up to which every subset is fitted; beyond, random orders stand for all."""
ORDERS = 32
NOTHING = Interval(*(float("nan"),) * 6)


@dataclass(frozen=True)
class Shares:
    """Shares of the loss that a model of the before-score alone leaves.

    Loss: deviance (an event) or squared error (a score) of facts whose answers the model
    was not fitted to. 0: worth nothing there; below 0: worse than nothing, as noise is.
    Intervals resample answers and take the fitted models as given.
    """

    explained: Interval
    """By all predictors together; at most 1."""
    shapley: tuple[Interval, ...]
    """Each predictor's part of it, in their order; the parts add up to it."""
    dropped: tuple[Interval, ...]
    """What is lost when one predictor alone is left out: near 0 where another stands in
    for it."""


def predictor_shares(
    base: Float64[np.ndarray, "seeds facts base"],
    predictors: Float64[np.ndarray, "seeds facts predictors"],
    outcome: Outcome,
    answers: Labels,
    *,
    kind: Kind,
    folds: int = 5,
    resamples: int = 2000,
    seed: int = 0,
) -> Shares:
    """Shapley values of the cross-validated loss, beyond the columns that are always in.

    Logistic regression (L2, C = 1) for an event, ridge regression (alpha = 1) for a score,
    each fold without the answers that it is read on. A Shapley value is a predictor's mean
    gain over all orders in which predictors can join the model: exact up to MOST
    predictors, beyond that over ORDERS random orders and their reverses. It is linear in
    the loss, so each fact has its own part of it, and answers can be resampled.

    All NaN, with a warning, where a fold's other facts have one outcome only.

    Args:
        base: columns that every model has, of variance about 1.
        predictors: a column a predictor, likewise.
        outcome: 0 or 1 (an event) or any number (a score).
        answers: one label a fact.
        kind: which of the two.
        folds: of answers; no more than there are answers.
        resamples: of the intervals.
        seed: of the resampling, and of random orders.

    Source: Shapley 1953; for shares of explained variance Lipovetsky & Conklin 2001,
    Applied Stochastic Models in Business and Industry 17, 319-330.
    """
    codes = as_codes(answers, outcome.shape[1])
    count = predictors.shape[2]

    @cache
    def losses(chosen: frozenset[int]) -> Outcome:
        columns = np.concatenate([base, predictors[..., sorted(chosen)]], axis=2)
        return held_out_loss(columns, outcome, codes, kind=kind, folds=folds)

    alone, everything = losses(frozenset()), losses(frozenset(range(count)))
    if np.isnan(alone).any():
        warnings.warn(
            "shares are NaN: leaving out some answers leaves one outcome only; "
            "too few facts were forgotten, or too few kept",
            stacklevel=2,
        )
        return Shares(NOTHING, (NOTHING,) * count, (NOTHING,) * count)

    def share(part: Outcome) -> Interval:
        with warnings.catch_warnings():
            # A loss is above 0 everywhere; its interval can only be undefined for want of
            # answers, which the caller's other intervals say.
            warnings.simplefilter("ignore", UserWarning)
            found = ratio_interval(part, alone, codes, resamples=resamples, seed=seed)
        return found.against(0.0)

    values = _exact(losses, count) if count <= MOST else _sampled(losses, count, seed)
    whole = frozenset(range(count))
    return Shares(
        explained=share(alone - everything),
        shapley=tuple(share(value) for value in values),
        dropped=tuple(share(losses(whole - {one}) - everything) for one in range(count)),
    )


def held_out_loss(
    columns: Features,
    outcome: Outcome,
    codes: Int[np.ndarray, " facts"],
    *,
    kind: Kind,
    folds: int,
) -> Outcome:
    """Each fact's -2 log-likelihood or squared error, by a model that never saw its answer."""
    seeds, facts, width = columns.shape
    rows, target = columns.reshape(-1, width), outcome.reshape(-1)
    found = np.full(seeds * facts, np.nan)
    for fit, read in _folds(np.tile(codes, seeds), folds):
        if kind == "score":
            model = Ridge(alpha=1.0).fit(rows[fit], target[fit])
            found[read] = (target[read] - model.predict(rows[read])) ** 2
            continue
        if np.ptp(target[fit]) == 0:
            return np.full(outcome.shape, np.nan)
        chances = _logistic(rows[fit], target[fit]).predict_log_proba(rows[read])
        found[read] = -2 * chances[np.arange(len(read)), target[read].astype(int)]
    return found.reshape(seeds, facts)


def held_out_scores(
    columns: Features,
    event: Outcome,
    codes: Int[np.ndarray, " facts"],
    *,
    folds: int,
) -> Outcome:
    """Each fact's log-odds of the event, without the intercept, by a model as above.

    Without, because a fold whose answers were lost more often leaves the others with a
    lower intercept: pooled scores would then rank facts the wrong way round by fold. NaN
    where a fold's other facts have one outcome only.
    """
    seeds, facts, width = columns.shape
    rows, target = columns.reshape(-1, width), event.reshape(-1)
    found = np.full(seeds * facts, np.nan)
    for fit, read in _folds(np.tile(codes, seeds), folds):
        if np.ptp(target[fit]) == 0:
            return np.full(event.shape, np.nan)
        found[read] = rows[read] @ _logistic(rows[fit], target[fit]).coef_[0]
    return found.reshape(seeds, facts)


def _logistic(
    rows: Float64[np.ndarray, "n d"], event: Float64[np.ndarray, " n"]
) -> LogisticRegression:
    return LogisticRegression(C=1.0, solver="newton-cholesky").fit(rows, event.astype(int))


def _folds(
    groups: Int[np.ndarray, " rows"], folds: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    splits = min(folds, len(np.unique(groups)))
    return list(GroupKFold(splits).split(groups, groups=groups))


def _exact(losses: Losses, count: int) -> list[Outcome]:
    values = []
    for one in range(count):
        others = [i for i in range(count) if i != one]
        subsets = chain.from_iterable(combinations(others, k) for k in range(count))
        value: Outcome = np.zeros_like(losses(frozenset()))
        for chosen in map(frozenset, subsets):
            weight = 1 / (count * math.comb(count - 1, len(chosen)))
            value = value + weight * (losses(chosen) - losses(chosen | {one}))
        values.append(value)
    return values


def _sampled(losses: Losses, count: int, seed: int) -> list[Outcome]:
    generator = np.random.default_rng(seed)
    values = [np.zeros_like(losses(frozenset())) for _ in range(count)]
    for _ in range(ORDERS):
        order: Sequence[int] = generator.permutation(count).tolist()
        for there in (order, order[::-1]):
            for place, one in enumerate(there):
                before, after = frozenset(there[:place]), frozenset(there[: place + 1])
                values[one] = values[one] + (losses(before) - losses(after)) / (2 * ORDERS)
    return values
