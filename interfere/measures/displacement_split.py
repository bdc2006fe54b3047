"""Each fact's displacement, split into the shift common to its relation and the rest."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.cluster_pairs import cluster_weights, interval_of_draws
from interfere.measures.common_shift import common_shift
from interfere.measures.rows import Labels, as_codes, as_rows
from interfere.measures.statistics import Interval


@dataclass(frozen=True)
class DisplacementSplit:
    """Movement Δ of each fact against c, the mean movement of its relation's other facts."""

    common: Float64[np.ndarray, " facts"]
    """Δ·c / ‖Δ‖²: share of the fact's squared displacement that the common shift accounts
    for. One fact's may lie outside [0, 1]. NaN: the fact did not move, or is its
    relation's only one."""
    alignment: Float64[np.ndarray, " facts"]
    """Cosine of Δ and c, in [-1, 1]."""
    length: Float64[np.ndarray, " facts"]
    """‖Δ‖, in units of the activations."""
    shift: Float64[np.ndarray, " facts"]
    """‖c‖, likewise."""
    share: Interval
    """ΣΔ·c / Σ‖Δ‖²; 1: all facts of a relation moved alike, 0: each its own way."""
    facts: int
    """Facts that count: those with others in their relation."""

    @property
    def residual(self) -> Float64[np.ndarray, " facts"]:
        """Δ·(Δ - c) / ‖Δ‖² = 1 - common: the share that is the fact's own, or its answer's."""
        return 1 - self.common


def displacement_split(
    before: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    after: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    relations: Labels,
    answers: Labels | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
    name: str = "displacement",
) -> DisplacementSplit:
    """Split Δ = after - before; row i is fact i in both. Float64 inside.

    c is the mean of Δ over the *other* facts of the relation: one that held the fact itself
    would make n facts that move at random share 1/n. For Δ = μ + ε with independent ε the
    share estimates ‖μ‖² / (‖μ‖² + E‖ε‖²) with an unbiased numerator, so it may fall below
    0; it is not clamped. What only the facts of one answer share is residual, but for what
    little of it the mean over the relation holds: give answers as `relations` to have it
    counted as common.

    Blind to one rotation, scaling and shift of both sides. A shift of `after` alone is a
    common displacement. The interval resamples answers, and pairs of facts with them.

    Args:
        before: one row a fact, at one hook and position.
        after: the same facts in the trained model.
        relations: one label a fact; the shift is common within it.
        answers: one label a fact; None: facts are resampled one by one.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        name: says in errors and warnings what they are about.

    Raises:
        InputError: shapes differ, labels that don't match, or a value that isn't finite.

    Source: arXiv 2610.08718 splits displacement into the mean over facts and a residual;
    the mean by relation, and without the fact itself, is interfere's own.
    """
    x, y = as_rows(before, f"{name}, before"), as_rows(after, f"{name}, after")
    if x.shape != y.shape:
        raise InputError(
            f"{name}: the split needs the same facts and dimensions twice, got {x.shape} "
            f"and {y.shape}"
        )
    delta = y - x
    relation = as_codes(relations, len(x), f"{name}, relations")
    ids = np.arange(len(x)) if answers is None else answers
    answer = as_codes(ids, len(x), f"{name}, answers")
    c = common_shift(delta, relation)
    with np.errstate(invalid="ignore", divide="ignore"):
        product, squared = (delta * c).sum(1), np.square(delta).sum(1)
        shift = np.linalg.norm(c, axis=1)
        common, alignment = product / squared, product / (np.sqrt(squared) * shift)
    counts = np.bincount(relation)[relation] > 1
    share = Interval(*(float("nan"),) * 6)
    if squared[counts].any():
        value = float(product[counts].sum() / squared[counts].sum())
        draws = _draws(delta[counts], relation[counts], answer[counts], resamples, seed)
        share = interval_of_draws(value, draws, answer[counts], name=name)
    else:
        why = "no fact moved" if counts.any() else "no relation has two facts"
        warnings.warn(f"{name}: the common share is NaN: {why}", stacklevel=2)
    return DisplacementSplit(
        common=common,
        alignment=alignment,
        length=np.sqrt(squared),
        shift=shift,
        share=share,
        facts=int(counts.sum()),
    )


def _draws(
    delta: Float64[np.ndarray, "n d"],
    relation: Int[np.ndarray, " n"],
    answer: Int[np.ndarray, " n"],
    resamples: int,
    seed: int,
) -> Float64[np.ndarray, " resamples"]:
    """The share when answers are drawn anew: ΣΔ·c is a sum over pairs of facts.

    With c as given, intervals would be half as wide as they should be. Two copies of one
    answer are no pair: they hold the same facts.
    """
    answer = as_codes(answer, len(answer))
    weights = cluster_weights(int(answer.max()) + 1, resamples=resamples, seed=seed)
    shared, whole = np.zeros(resamples), np.zeros(resamples)
    for code in np.unique(relation):
        chosen = relation == code
        present, place = np.unique(answer[chosen], return_inverse=True)
        w = weights[:, present]
        total = np.zeros((len(present), delta.shape[1]))
        np.add.at(total, place, delta[chosen])
        squared = np.bincount(place, np.square(delta[chosen]).sum(1))
        sizes = np.bincount(place).astype(np.float64)
        products = _pairs(w, total @ total.T, squared)
        pairs = _pairs(w, np.outer(sizes, sizes), sizes)
        has_pairs = pairs > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            shared += np.where(has_pairs, (w @ sizes) * products / pairs, 0)
        whole += np.where(has_pairs, w @ squared, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(shared / whole)


def _pairs(
    weights: Float64[np.ndarray, "resamples k"],
    sums: Float64[np.ndarray, "k k"],
    own: Float64[np.ndarray, " k"],
) -> Float64[np.ndarray, " resamples"]:
    """Weighted sum over pairs of different facts, of one answer and of two."""
    inside = np.diag(sums)
    across = ((weights @ (sums - np.diag(inside))) * weights).sum(1)
    return np.asarray(across + weights @ (inside - own))
