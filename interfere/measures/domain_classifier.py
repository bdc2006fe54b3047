"""Domain classifier: can a line through the activations tell new facts from old ones?"""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.cluster_pairs import (
    by_cluster,
    cluster_weights,
    common_codes,
    interval_of_draws,
)
from interfere.measures.metrics import place
from interfere.measures.permuted import (
    NOTHING,
    Permuted,
    against_permuted,
    can_be_dealt,
    dealt_anew,
)
from interfere.measures.rows import Labels
from interfere.measures.statistics import Interval

STRENGTHS = np.logspace(-1, 5, 7)
"""Of the ridge penalty, chosen within the training folds by leave-one-out error."""


@dataclass(frozen=True)
class DomainClassifier:
    """How well new facts are told from old ones, on answers that were not trained on."""

    auc: Interval
    """Chance that a new fact scores above an old one of the same fold; .5: they can't be
    told apart, 1: always."""
    shuffled: Permuted
    """The same with labels shuffled before training, by `permuted.dealt_anew`: what the
    classifier makes of noise."""
    selectivity: float
    """auc less the mean of shuffled labels."""
    scores: Float64[np.ndarray, " facts"]
    """Out of fold, of old facts and then new ones; comparable within a fold only."""
    folds: Int[np.ndarray, " facts"]


def domain_classifier(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    old_answers: Labels | None = None,
    new_answers: Labels | None = None,
    *,
    folds: int = 5,
    shuffles: int = 99,
    resamples: int = 2000,
    seed: int = 0,
    name: str = "domain classifier",
) -> DomainClassifier:
    """Cross-validated AUC of ridge regression on the label new (1) or old (0).

    All facts of an answer are in one fold, so answers that only one set has can't be
    learnt. Dimensions are standardised by the training folds; AUC is read within folds,
    since scores of two folds have different offsets. Blind to one shift of all rows and to
    a scaling of each dimension. The interval resamples answers with the classifiers as
    they were trained, and leaves out what other training facts would change (of sets of 90
    and 70 facts that were one it covered 88 %): for whether there is anything, read the
    shuffled labels. Near .5 under shuffled labels, often just below, as in every
    cross-validation that balances its folds.

    Args:
        old: one row a fact, all at one hook and position of one model.
        new: other facts.
        old_answers: one label an old fact; None: every fact is its own group.
        new_answers: one label a new fact; equal where the answer is.
        folds: of the cross-validation; at most as many as answers.
        shuffles: of the labels.
        resamples: of the bootstrap.
        seed: of folds, shuffles and bootstrap.
        name: says in errors what they are about.

    Raises:
        InputError: fewer facts than folds in a set, fewer answers than folds, labels for
            one set only, or as in `metrics.place`.

    Source: the classifier two-sample test, Lopez-Paz & Oquab 2017, arXiv 1610.06545; here by
    AUC, with answers held out together.
    """
    x, y = place(old, new, "euclidean", name=name, least=folds)
    if (old_answers is None) != (new_answers is None):
        raise InputError(f"{name}: give the answers of both sets or of neither")
    if old_answers is None or new_answers is None:
        old_answers, new_answers = np.arange(len(x)), len(x) + np.arange(len(y))
    answers = np.concatenate(common_codes(old_answers, new_answers, (len(x), len(y))))
    if answers.max() + 1 < folds:
        raise InputError(
            f"{name}: {answers.max() + 1} answers can't fill {folds} folds; give fewer folds"
        )
    rows = np.concatenate([x, y])
    is_new = np.arange(len(rows)) >= len(x)
    generator = np.random.default_rng(seed)
    dealt = can_be_dealt(is_new, answers, name)
    deals = (dealt_anew(is_new, answers, generator) for _ in range(shuffles * dealt))
    labels = np.stack([is_new, *deals])
    fold = np.empty(len(rows), dtype=np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has fewer answers than folds
        for i, (_, held) in enumerate(splitter.split(rows, is_new, answers)):
            fold[held] = i
    scores = _scores(rows, labels, fold)
    aucs = np.array([_auc(*row, fold) for row in zip(scores, labels, strict=True)])
    shuffled = _shuffled(aucs, name) if dealt else NOTHING
    draws = _draws(scores[0], is_new, fold, answers, resamples, seed)
    return DomainClassifier(
        auc=interval_of_draws(float(aucs[0]), draws, answers, name=name, null=0.5),
        shuffled=shuffled,
        selectivity=float(aucs[0]) - shuffled.mean,
        scores=scores[0],
        folds=fold,
    )


def _shuffled(aucs: Float64[np.ndarray, " labels"], name: str) -> Permuted:
    """Against deals that leave no fold with facts of both sets, nothing can be said."""
    found = aucs[1:][np.isfinite(aucs[1:])]
    if len(found) < 0.8 * len(aucs[1:]):
        warnings.warn(
            f"{name}: shuffled labels are NaN: with whole answers dealt, folds often lack one "
            "of the sets; it needs more answers of each",
            stacklevel=3,
        )
        return NOTHING
    return against_permuted(float(aucs[0]), found)


def _scores(
    rows: Float64[np.ndarray, "n d"],
    labels: np.ndarray,
    fold: Int[np.ndarray, " n"],
) -> Float64[np.ndarray, "labels n"]:
    """Out-of-fold scores for every labelling at once: one decomposition a fold."""
    found = np.empty(labels.shape)
    for i in np.unique(fold):
        held = fold == i
        scaler = StandardScaler().fit(rows[~held])
        model = RidgeCV(STRENGTHS, alpha_per_target=True)
        model.fit(scaler.transform(rows[~held]), labels[:, ~held].T.astype(float))
        predicted = model.predict(scaler.transform(rows[held]))
        found[:, held] = predicted.reshape(held.sum(), -1).T
    return found


def _wins(
    scores: Float64[np.ndarray, " n"], is_new: np.ndarray, fold: Int[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, "old new"], Float64[np.ndarray, "old new"]]:
    """For each old and new fact of one fold: 1 where the new one scores above, ½ at a tie;
    and which pairs there are."""
    difference = scores[is_new] - scores[~is_new][:, None]
    pairs = (fold[is_new] == fold[~is_new][:, None]).astype(np.float64)
    return (np.sign(difference) + 1) / 2 * pairs, pairs


def _auc(
    scores: Float64[np.ndarray, " n"], is_new: np.ndarray, fold: Int[np.ndarray, " n"]
) -> float:
    wins, pairs = _wins(scores, is_new, fold)
    return float(wins.sum() / pairs.sum()) if pairs.any() else float("nan")


def _draws(
    scores: Float64[np.ndarray, " n"],
    is_new: np.ndarray,
    fold: Int[np.ndarray, " n"],
    answers: Int[np.ndarray, " n"],
    resamples: int,
    seed: int,
) -> Float64[np.ndarray, " resamples"]:
    count = int(answers.max()) + 1
    weights = cluster_weights(count, resamples=resamples, seed=seed)
    sides = answers[~is_new], answers[is_new]
    won, of = (by_cluster(m, *sides, count) for m in _wins(scores, is_new, fold))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Float64[np.ndarray, " resamples"] = ((weights @ won) * weights).sum(1) / (
            (weights @ of) * weights
        ).sum(1)
    return found
