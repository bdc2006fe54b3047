"""Calibration: is a model right as often as it is sure?"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64
from scipy import special

from interfere.errors import InputError
from interfere.measures.rows import Labels
from interfere.measures.statistics import (
    RESAMPLES,
    Interval,
    mean_interval,
    percentiles,
    resampled_sums,
)


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy of one model's answers."""

    bins: pd.DataFrame
    """The reliability diagram, a row a bin that holds facts: low, high (its ends), facts,
    confidence and accuracy (means), accuracy_low, accuracy_high (95 % over answers; NaN
    where a bin has too few)."""
    ece: float
    """Σ share · |confidence - accuracy| over bins, in [0, 1]. Biased upward: above 0 for a
    perfectly calibrated model, the more so the smaller the bins."""
    ece_debiased: float
    """The same less its estimated bias, which is about half of it where the true error is
    near 0: the rest stays. May fall below 0. NaN: a bin holds one fact."""
    ece_low: float
    ece_high: float
    """95 % interval of the debiased one."""
    squared_debiased: float
    """Debiased Σ share · (confidence - accuracy)²: 0 on average for a calibrated model, so
    it may fall below 0. NaN likewise."""
    overconfidence: Interval
    """Mean confidence less accuracy, in [-1, 1]."""
    brier: Interval
    """Mean (confidence - right)², in [0, 1]; 0 only for a model that is sure and right."""
    facts: int


def calibration(
    confidence: Float[np.ndarray, " facts1"],
    right: Bool[np.ndarray, " facts2"],
    clusters: Labels,
    *,
    bins: int = 10,
    equal: Literal["facts", "width"] = "facts",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Calibration:
    """Reliability diagram, expected calibration error and Brier score.

    Args:
        confidence: probability that the model gave its own answer, in [0, 1].
        right: whether that answer is right.
        clusters: one label a fact (its answer), which intervals resample.
        bins: at most so many.
        equal: what bins share: as many facts (the default: sure models put most
            confidences near 1), or the width. Facts of one confidence share a bin.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: not one confidence in [0, 1] and one outcome a fact, or bins below 1.

    Source: Kumar, Liang and Ma 2019, arXiv 1909.10155. `squared_debiased` is their debiased
    estimator (section 5; for bins known from Bröcker 2012 and Ferro and Fricker 2012): from each
    bin's squared gap it takes a(1 - a) / (n - 1), the variance of its accuracy a. For
    `ece_debiased` the bias of a bin's |gap| is that of a normal accuracy of that variance
    (their code's normal_debiased_ce, here in closed form). Both take facts for independent:
    where an answer's facts move together, too little is taken off. The interval is the basic
    bootstrap's over answers, with the bins held fixed.
    """
    p, y = _checked(confidence, right)
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}")
    edges = _edges(p, bins, equal)
    place = np.searchsorted(edges[1:-1], p)
    _, place = np.unique(place, return_inverse=True)
    inside = np.eye(place.max() + 1)[place]
    columns = np.concatenate([inside, inside * p[:, None], inside * y[:, None]], axis=1)
    sums = columns.sum(0)
    ece, ece_debiased, squared = (float(values[0]) for values in _errors(sums[None]))
    if np.isnan(ece_debiased):
        warnings.warn(
            "debiased calibration error is NaN: a bin holds one fact; ask for fewer bins, or "
            'bins of equal="facts"',
            stacklevel=2,
        )
    draws = resampled_sums(columns, clusters, resamples=resamples, seed=seed)
    # What the bootstrap's estimates miss by is taken from ours. Its truth is the plug-in.
    with np.errstate(invalid="ignore", divide="ignore"):
        missed = _errors(draws)[1] - ece
    missed = missed[np.isfinite(missed)]  # a bin may be left with one fact
    enough = len(missed) > 0.9 * resamples
    above, below = percentiles(missed, clusters) if enough else (np.nan, np.nan)
    return Calibration(
        bins=_diagram(sums, draws, clusters, p, place),
        ece=ece,
        ece_debiased=ece_debiased,
        ece_low=ece_debiased - below,
        ece_high=ece_debiased - above,
        squared_debiased=squared,
        overconfidence=mean_interval(
            (p - y)[None], clusters, resamples=resamples, seed=seed
        ),
        brier=mean_interval(
            np.square(p - y)[None], clusters, resamples=resamples, seed=seed
        ),
        facts=len(p),
    )


def _errors(
    sums: Float64[np.ndarray, "resamples columns"],
) -> tuple[Float64[np.ndarray, " resamples"], ...]:
    """ECE, debiased ECE, debiased squared error from counts, confidences, rights by bin."""
    count, sure, correct = np.split(sums, 3, axis=-1)
    share = count / count.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = correct / count
        gap = np.where(count > 0, np.abs(sure - correct) / count, 0)
        variance = accuracy * (1 - accuracy)
        spread = np.sqrt(variance / count)
        ratio = np.where(spread > 0, gap / spread, np.inf)
        # Mean of |N(gap, spread)| less gap.
        folded = spread * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2)
        bias = folded - gap * special.erfc(ratio / np.sqrt(2))
        squared = gap**2 - np.where(variance > 0, variance / (count - 1), 0)
    alone = (count == 1).any(-1)
    empty = count == 0
    ece = (share * gap).sum(-1)
    debiased = ece - np.where(empty, 0, share * bias).sum(-1)
    squares = np.where(empty, 0, share * squared).sum(-1)
    return ece, np.where(alone, np.nan, debiased), np.where(alone, np.nan, squares)


def _edges(
    p: Float64[np.ndarray, " facts"], bins: int, equal: str
) -> Float64[np.ndarray, " ends"]:
    even = np.linspace(0, 1, bins + 1)
    if equal == "width":
        return even
    found = np.unique(np.quantile(p, even))
    return found if len(found) > 1 else np.repeat(found, 2)


def _diagram(
    sums: Float64[np.ndarray, " columns"],
    draws: Float64[np.ndarray, "resamples columns"],
    clusters: Labels,
    p: Float64[np.ndarray, " facts"],
    place: np.ndarray,
) -> pd.DataFrame:
    count, sure, correct = np.split(sums, 3)
    counts, _, rights = np.split(draws, 3, axis=1)
    labels = np.asarray(clusters, dtype=object)
    rows = []
    for i in range(len(count)):
        own, inside = p[place == i], labels[place == i]
        filled = counts[:, i] > 0
        ends = percentiles(rights[filled, i] / counts[filled, i], inside)
        rows.append(
            {
                "low": own.min(),
                "high": own.max(),
                "facts": int(count[i]),
                "confidence": sure[i] / count[i],
                "accuracy": correct[i] / count[i],
                "accuracy_low": ends[0],
                "accuracy_high": ends[1],
            }
        )
    return pd.DataFrame(rows)


def _checked(
    confidence: np.ndarray, right: np.ndarray
) -> tuple[Float64[np.ndarray, " facts"], Float64[np.ndarray, " facts"]]:
    if len(confidence) != len(right) or not len(confidence):
        raise InputError(
            f"calibration needs a confidence and an outcome a fact, got {len(confidence)} "
            f"and {len(right)}"
        )
    p = np.asarray(confidence, dtype=np.float64)
    fine = (p >= 0) & (p <= 1 + 1e-6)  # a product of probabilities may round above 1
    if not fine.all():
        fact = int(np.argmin(fine))
        raise InputError(f"the confidence of fact {fact} is {p[fact]:g}, outside [0, 1]")
    return np.minimum(p, 1), np.asarray(right, dtype=np.float64)
