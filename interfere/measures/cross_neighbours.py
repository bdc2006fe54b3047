"""Cross-set neighbours: are an old fact's nearest facts new ones?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.cluster_pairs import common_codes
from interfere.measures.metrics import Metric, place
from interfere.measures.permuted import (
    NOTHING,
    PERMUTATIONS,
    Permuted,
    against_permuted,
    can_be_dealt,
    dealt_anew,
)
from interfere.measures.rows import Labels
from interfere.measures.statistics import Interval, mean_interval


@dataclass(frozen=True)
class CrossNeighbours:
    """New facts among the nearest of each old one, in old and new facts together."""

    per_fact: Float64[np.ndarray, " old"]
    """Share of new facts among the k nearest of each old fact, itself left out; [0, 1]."""
    share: Interval
    """Mean over old facts; `null` is the share under mixing: new / (old + new - 1), or with
    the answers of both sets the mean of `permuted`."""
    permuted: Permuted
    """The same share with the labels old and new dealt anew; NaN, with a warning, where
    answers are too few."""
    k: int


def cross_neighbours(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    *,
    k: int = 10,
    metric: Metric = "cosine",
    answers: Labels | None = None,
    new_answers: Labels | None = None,
    permutations: int = PERMUTATIONS,
    resamples: int = 2000,
    seed: int = 0,
    name: str = "neighbours",
) -> CrossNeighbours:
    """Share of new facts among the k nearest of each old fact, in old ∪ new.

    0: the sets lie apart; new / (old + new - 1): they are mixed; above: old facts lie
    nearer to new ones than to each other. Invariances as `metric` has them
    (`metrics.Metric`). The interval resamples old facts' answers with the neighbours of
    each fact as they are, so it leaves out part of what other facts would change (of sets of
    90 and 70 facts that were one it covered 91 %). With the answers of both sets the
    permutation test deals them as `permuted.dealt_anew` does; without, fact by fact, and it
    is then too sure where answers lie in one set each.

    Args:
        old: one row a fact, all at one hook and position of one model.
        new: other facts.
        k: neighbours; below old + new.
        metric: what near means.
        answers: one label an old fact; None: facts are resampled one by one.
        new_answers: one label a new fact, equal where the answer is.
        permutations: of the labels old and new over all facts.
        resamples: of the bootstrap.
        seed: of both.
        name: says in errors what they are about.

    Raises:
        InputError: k out of range, new_answers without answers, or as in `metrics.place`.

    Source: k-nearest-neighbour two-sample statistic, Schilling (1986), doi
    10.1080/01621459.1986.10478337, read from the old facts' side.
    """
    x, y = place(old, new, metric, name=name, least=2)
    count = len(x) + len(y)
    if not 1 <= k < count:
        raise InputError(f"{name}: k must be from 1 to {count - 1}, got {k}")
    index = NearestNeighbors(n_neighbors=k).fit(np.concatenate([x, y]))
    nearest = index.kneighbors(return_distance=False)  # without rows: each drops itself
    is_new = np.arange(count) >= len(x)
    shares = is_new[nearest[: len(x)]].mean(1)
    if answers is not None and new_answers is not None:
        codes = np.concatenate(common_codes(answers, new_answers, (len(x), len(y))))
    elif new_answers is not None:
        raise InputError(
            f"{name}: give the answers of both sets, or of the old facts alone"
        )
    else:
        codes = np.arange(count)
    clusters = np.arange(len(x)) if answers is None else answers
    found = mean_interval(shares[None], clusters, resamples=resamples, seed=seed)
    permuted = NOTHING
    if can_be_dealt(is_new, codes, name):
        generator = np.random.default_rng(seed)
        drawn = np.empty(permutations)
        for draw in range(permutations):
            labels = dealt_anew(is_new, codes, generator)
            drawn[draw] = labels[nearest[~labels]].mean()
        permuted = against_permuted(found.value, drawn)
    mixed = len(y) / (count - 1) if new_answers is None else permuted.mean
    return CrossNeighbours(shares, found.against(mixed), permuted, k)
