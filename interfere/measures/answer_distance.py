"""Distance between old and new facts by answer: do those that share one lie nearer?"""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from interfere.measures.cluster_pairs import (
    by_cluster,
    cluster_weights,
    common_codes,
    interval_of_draws,
)
from interfere.measures.metrics import Metric, distances, place
from interfere.measures.permuted import (
    NOTHING,
    PERMUTATIONS,
    Permuted,
    against_permuted,
)
from interfere.measures.rows import Labels
from interfere.measures.statistics import Interval

LEAST_NAMES = 5
"""Answers of new facts: the names of fewer can be permuted in less than LEAST_DEALS ways."""


@dataclass(frozen=True)
class AnswerDistance:
    """How far old facts lie from new ones with their answer, and from the others."""

    same: Float64[np.ndarray, " old"]
    """Mean distance of each old fact to the new facts with its answer; NaN: there are
    none."""
    other: Float64[np.ndarray, " old"]
    """Mean distance of each old fact to the new facts with another answer."""
    ratio: Interval
    """Mean of same over mean of other, over old facts that have both; 1: the answer makes
    no difference, below 1: new facts with the same answer lie nearer."""
    permuted: Permuted
    """The same ratio with the names of the new facts' answers permuted; NaN, with a warning,
    where they have too few."""
    facts: int
    """Old facts that have both."""


def answer_distance(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    old_answers: Labels,
    new_answers: Labels,
    *,
    metric: Metric = "cosine",
    permutations: int = PERMUTATIONS,
    resamples: int = 2000,
    seed: int = 0,
    name: str = "answer distance",
) -> AnswerDistance:
    """Mean distance to new facts with the same answer, over that to those with another.

    Invariances as `metric` has them; the ratio is blind to the activations' scale under
    every metric. The interval resamples answers of old and new facts together. NaN, with
    a warning, where no old fact has new facts of its own and of other answers.

    Args:
        old: one row a fact, all at one hook and position of one model.
        new: other facts.
        old_answers: one label an old fact.
        new_answers: one label a new fact, equal where the answer is.
        metric: what distance means.
        permutations: of the names of the new facts' answers.
        resamples: of the bootstrap.
        seed: of both.
        name: says in errors and warnings what they are about.

    Raises:
        InputError: labels that don't match the facts, or as in `metrics.place`.
    """
    x, y = place(old, new, metric, name=name)
    a, b = common_codes(old_answers, new_answers, (len(x), len(y)))
    count = 1 + int(max(a.max(), b.max()))
    apart = distances((x, y), metric)
    new_of, old_of = (np.bincount(codes, minlength=count) for codes in (b, a))
    equal = a[:, None] == b
    with np.errstate(invalid="ignore"):
        same = (apart * equal).sum(1) / new_of[a]
        other = (apart * ~equal).sum(1) / (len(y) - new_of[a])
    has_both = np.isfinite(same) & np.isfinite(other)
    nan = float("nan")
    if not has_both.any():
        warnings.warn(
            f"{name}: answer distance is NaN: no old fact shares its answer with some new "
            "facts and not with others",
            stacklevel=2,
        )
        none = Interval(nan, nan, nan, nan, nan, nan, null=1.0)
        return AnswerDistance(same, other, none, Permuted(nan, nan, nan, nan), 0)
    value = float(same[has_both].mean() / other[has_both].mean())

    sums = by_cluster(apart, a, b, count)
    permuted = NOTHING
    if (names := np.count_nonzero(new_of)) >= LEAST_NAMES:
        permuted = against_permuted(
            value, _permuted(sums, old_of, new_of, permutations, seed)
        )
    else:
        warnings.warn(
            f"{name}: what answers without meaning give is NaN: new facts have {names} "
            f"answers, and it needs {LEAST_NAMES}",
            stacklevel=2,
        )
    counted = has_both.nonzero()[0]
    draws = _draws(sums, old_of, new_of, resamples, seed)
    return AnswerDistance(
        same=same,
        other=other,
        ratio=interval_of_draws(value, draws, a[counted], name=name, null=1.0),
        permuted=permuted,
        facts=len(counted),
    )


def _draws(
    sums: Float64[np.ndarray, "answers answers"],
    old_of: np.ndarray,
    new_of: np.ndarray,
    resamples: int,
    seed: int,
) -> Float64[np.ndarray, " resamples"]:
    """The ratio when answers are drawn anew, from sums of distances by pair of answers."""
    w = cluster_weights(len(sums), resamples=resamples, seed=seed)
    both = (old_of > 0) & (new_of > 0)
    # Copies of one answer are neither "same" (they would be one fact twice) nor "other".
    far = w @ (sums - np.diag(np.diag(sums))).T
    others = (w @ new_of)[:, None] - w * new_of
    near = np.diag(sums) / np.maximum(new_of, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        beside = np.where(others > 0, far / others, 0.0)
        counts = w * both * (others > 0)
        found: Float64[np.ndarray, " resamples"] = (counts @ near) / (counts * beside).sum(
            1
        )
    return found


def _permuted(
    sums: Float64[np.ndarray, "answers answers"],
    old_of: np.ndarray,
    new_of: np.ndarray,
    permutations: int,
    seed: int,
) -> Float64[np.ndarray, " permutations"]:
    """The ratio with the names of the new facts' answers permuted; their facts stay together.

    Dealt one by one, facts of one answer that are alike would give a null too narrow.
    """
    present = np.flatnonzero(new_of)
    both = present[old_of[present] > 0]
    place = np.searchsorted(present, both)
    total, everyone = sums.sum(1)[both], new_of.sum()
    generator = np.random.default_rng(seed)
    found = np.empty(permutations)
    for draw in range(permutations):
        named = generator.permutation(present)[place]
        near = sums[both, named]
        same = (near / new_of[named]).sum()
        found[draw] = same / ((total - near) / (everyone - new_of[named])).sum()
    return found
