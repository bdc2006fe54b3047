"""Each predictor's numbers: coefficients, rank correlation, AUC, shares of a common model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from interfere.measures.forgetting_table import ForgettingTable
from interfere.measures.loss_regression import (
    NAMES,
    adjustment,
    before_columns,
    loss_on_predictors,
    rank_scores,
)
from interfere.measures.predictor_shares import held_out_scores, predictor_shares
from interfere.measures.rows import as_codes
from interfere.measures.statistics import Interval
from interfere.measures.weighted_bootstrap import (
    RESAMPLES,
    Statistic,
    Weights,
    bootstrap,
)
from interfere.measures.weighted_ranks import auc, midranks, partial_correlation

ALL = "all"
"""Stands for all predictors where one is named."""

BEFORE = "before"
"""Stands for the before-score, less being more at risk."""

Numbers = Float64[np.ndarray, "resamples numbers"]
PerFact = Float64[np.ndarray, "seeds facts"]


class Found(NamedTuple):
    """One number of one predictor."""

    predictor: str
    statistic: str
    interval: Interval


@dataclass(frozen=True)
class Options:
    """How intervals and folds are made."""

    resamples: int = RESAMPLES
    folds: int = 5
    seed: int = 0


def coefficients(data: ForgettingTable, options: Options) -> list[Found]:
    """`loss_on_predictors`, on all facts."""
    stacked = np.stack(list(data.predictors.values()), axis=1)

    def numbers(seed: int, weights: Weights) -> Numbers:
        found = loss_on_predictors(
            data.before[seed], data.after[seed], data.control[seed], stacked[seed], weights
        )
        return found.reshape(len(weights), -1)

    kinds = [(name, kind) for name in data.predictors for kind in NAMES]
    return _found(numbers, kinds, data.answers, data.seeds, options)


def rank_correlations(data: ForgettingTable, options: Options) -> list[Found]:
    """Partial Spearman with the loss beyond the control given the before-score.

    What is taken off both ranks is `adjustment`, as in the regression: loss and predictor
    may both bend with the before-score, and a straight line would leave them alike.
    """

    def numbers(seed: int, weights: Weights) -> Numbers:
        start = adjustment(data.before[seed])
        loss = midranks(data.control[seed] - data.after[seed], weights)
        columns = [
            partial_correlation(midranks(values[seed], weights), loss, start, weights)
            for values in data.predictors.values()
        ]
        return np.stack(columns, axis=1)

    kinds = [(name, "spearman") for name in data.predictors]
    return _found(numbers, kinds, data.answers, data.seeds, options)


def areas(data: ForgettingTable, margin: str | None, options: Options) -> list[Found]:
    """AUC of forgotten against kept among facts right before, and what it is held against."""
    right, names = data.right, list(data.predictors)
    answers, forgotten = data.answers[right], data.forgotten[:, right]
    scores = {name: values[:, right] for name, values in data.predictors.items()}
    scores[BEFORE] = -data.before[:, right]
    others = [name for name in names if margin is not None and name != margin]
    # The margin is held against the before-score alone, the others against both.
    less = {name: () if margin in (None, name) else (str(margin),) for name in names}
    columns = {name: _ranked(values)[..., None] for name, values in scores.items()}
    base = np.stack([before_columns(before[right]) for before in data.before])

    @cache
    def model(chosen: tuple[str, ...]) -> PerFact:
        return held_out_scores(
            np.concatenate([base, *(columns[name] for name in chosen)], axis=2),
            forgotten.astype(np.float64),
            as_codes(answers, len(answers)),
            folds=options.folds,
        )

    def numbers(seed: int, weights: Weights) -> Numbers:
        @cache
        def area(chosen: tuple[str, ...]) -> Float64[np.ndarray, " resamples"]:
            return auc(model(chosen)[seed], forgotten[seed], weights)

        plain = {k: auc(v[seed], forgotten[seed], weights) for k, v in scores.items()}
        found = list(plain.values())
        found += [plain[name] - plain[str(margin)] for name in others]
        found += [area((*less[name], name)) - area(less[name]) for name in names]
        return np.stack(found, axis=1)

    kinds = [(name, "auc") for name in scores]
    kinds += [(name, "beyond_margin") for name in others]
    kinds += [(name, "added") for name in names]
    return _found(numbers, kinds, answers, data.seeds, options)


def shares(data: ForgettingTable, options: Options) -> list[Found]:
    """`predictor_shares` of what was forgotten, and of the loss beyond the control."""
    base = np.stack([before_columns(before) for before in data.before])
    columns = np.stack([_ranked(v) for v in data.predictors.values()], axis=-1)
    everything, found = np.ones_like(data.right), []
    for name, facts, outcome in (
        ("forgotten", data.right, data.forgotten.astype(np.float64)),
        ("loss", everything, data.control - data.after),
    ):
        if not facts.any():
            continue
        parts = predictor_shares(
            base[:, facts],
            columns[:, facts],
            outcome[:, facts],
            data.answers[facts],
            kind="event" if name == "forgotten" else "score",
            folds=options.folds,
            resamples=options.resamples,
            seed=options.seed,
        )
        named = [(ALL, f"share_{name}", parts.explained)]
        for way, intervals in (("share", parts.shapley), ("dropped", parts.dropped)):
            pairs = zip(data.predictors, intervals, strict=True)
            named += [(key, f"{way}_{name}", interval) for key, interval in pairs]
        found += [Found(*row) for row in named]
    return found


def _found(
    numbers: Statistic,
    kinds: Sequence[tuple[str, str]],
    answers: np.ndarray,
    seeds: int,
    options: Options,
) -> list[Found]:
    tested = bootstrap(
        numbers,
        answers,
        seeds=seeds,
        nulls=[0.5 if kind == "auc" else 0.0 for _, kind in kinds],
        resamples=options.resamples,
        seed=options.seed,
    )
    return [
        # Fitted models lean below 0 under the null: their intervals say how much, no p.
        Found(*kind, replace(one, p_value=float("nan")) if kind[1] == "added" else one)
        for kind, one in zip(kinds, tested, strict=True)
    ]


def _ranked(values: PerFact) -> PerFact:
    """Ranks within each seed, with variance 1."""
    return np.sqrt(3) * np.stack([rank_scores(row) for row in values])
