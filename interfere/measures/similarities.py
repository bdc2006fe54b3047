"""The measures of similarity of the same facts before and after, by name."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from interfere.errors import InputError
from interfere.measures.cka import cka
from interfere.measures.jackknife import GROUPS, Jackknife, jackknife
from interfere.measures.mutual_knn import mutual_knn
from interfere.measures.procrustes import procrustes
from interfere.measures.rbf_cka import rbf_cka
from interfere.measures.rows import Labels, as_rows
from interfere.measures.rsa import rsa
from interfere.measures.svcca import svcca

Rows = Float64[np.ndarray, "n d"]


@dataclass(frozen=True)
class Similarity:
    """A measure with its default options, and where its values lie."""

    of: Callable[[np.ndarray, np.ndarray], float]
    least: float
    most: float


SIMILARITIES = {
    "cka": Similarity(lambda x, y: cka(x, y).value, -1, 1),
    "rbf_cka": Similarity(lambda x, y: rbf_cka(x, y).value, -1, 1),
    "svcca": Similarity(lambda x, y: svcca(x, y).value, 0, 1),
    "procrustes": Similarity(lambda x, y: procrustes(x, y).distance, 0, 2),
    "rsa": Similarity(lambda x, y: rsa(x, y).value, -1, 1),
    "mutual_knn": Similarity(lambda x, y: mutual_knn(x, y).value, 0, 1),
}
"""All but `procrustes`, a distance, are 1 where nothing changed."""


def similarity_interval(
    before: Float64[np.ndarray, "n d1"],
    after: Float64[np.ndarray, "n d2"],
    clusters: Labels,
    measure: str,
    *,
    groups: int = GROUPS,
    seed: int = 0,
) -> Jackknife:
    """One of `SIMILARITIES` with its 95 % interval over answers, cut at its range.

    Costs groups + 1 times the measure. Row i is fact i in both; see `jackknife`. NaN where
    the measure is, for all facts or without one of the groups.

    It is an interval for what the measure gives on average for as many facts, its bias
    included. On simulated answers (200 draws) it covered 94 to 98 % for 40 answers of equal
    size; `mutual_knn` more than it should (98 %, with 15 answers 99 %); with sizes that fall
    as 1 / rank, `rsa` 88 % and `rbf_cka` 90 %: too little.

    Raises:
        InputError: no measure of that name, or as in the measure: of all facts, or of those
            that are left when a group of answers is left out.
    """
    if measure not in SIMILARITIES:
        raise InputError(
            f"there is no similarity {measure!r}; there are {', '.join(SIMILARITIES)}"
        )
    x, y = as_rows(before, "before"), as_rows(after, "after")
    chosen = SIMILARITIES[measure]
    found = jackknife(
        lambda kept: chosen.of(x[kept], y[kept]), clusters, groups=groups, seed=seed
    )
    low, high = (np.clip(end, chosen.least, chosen.most) for end in (found.low, found.high))
    return replace(found, low=np.asarray(low), high=np.asarray(high))
