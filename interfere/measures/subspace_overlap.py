"""Overlap: do new facts live where old ones do?"""

import warnings
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64
from threadpoolctl import threadpool_limits
from torch import Tensor

from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.measures.halves import set_codes, student
from interfere.measures.one_model import check_one_model, check_places
from interfere.measures.overlap_splits import (
    Halves,
    Similarities,
    half_similarities,
    split_similarities,
    standard_error,
)
from interfere.measures.rows import Labels, as_rows
from interfere.measures.subspaces import check_rank
from interfere.models.layers import layer

LEAST_SPLITS = 20

ABOVE, BELOW = np.array([1.0, -1, 0]), np.array([0.0, -1, 1])
"""Numerator and denominator, of the similarities old-new, old-control, old-old'."""


@dataclass(frozen=True)
class Overlap:
    """How near new facts lie to old ones, between a foreign set and the old themselves."""

    overlap: float
    """0: as foreign as the control; 1: as near as old facts are to each other."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    s_old_new: float
    """Mean similarity of the old halves' subspaces and the new facts', in [0, 1]."""
    s_old_control: float
    s_old_old: float
    """Mean similarity of the two old halves."""
    mean_distance: float
    """Distance of the means of new and old, in units of the old facts' RMS spread."""
    rank: int
    rows: int
    """Rows that each subspace was made from."""


def subspace_overlap(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    control: Float[np.ndarray, "n3 ..."] | Float[Tensor, "n3 ..."],
    *,
    rank: int = 16,
    splits: int = LEAST_SPLITS,
    seed: int = 0,
    name: str = "overlap",
    answers: tuple[Labels, Labels, Labels] | None = None,
) -> Overlap:
    """(s(old, new) - s(old, control)) / (s(old, old') - s(old, control)) on plain arrays.

    In each split old facts fall into random halves; new and control facts are drawn
    without replacement, so that all sets have m = min(old // 2, new, control) rows. s(old,
    new) and s(old, control) are means over both halves. Numerator and denominator are
    averaged over the splits before they are divided. Blind to one rotation, scaling or
    shift of all rows; not to a shift of one set, which `mean_distance` shows.

    The interval is value ± t · standard error, from random halvings of all three sets at
    once, by answer (`measures.halves`). Two halves share no fact, so their values differ as
    those of two samples of half the size; a halving's squared difference, scaled by the
    rows, is a variance. It counts new and control facts that are used in every split as
    the sample they are. On simulated sets (200, 100, 100 and 500, 300, 150 facts; 40 answers
    or none; steep and flat spectra) it covered in 95 to 99 % of the draws; where spectra are
    flat it is up to 1.4 times too wide. With few answers it may undercover. It says nothing
    of other seeds or models, and is NaN, with a warning, where half of the facts are too
    few for `rank` or have too few answers. The overlap itself is NaN, with a warning, where
    the denominator's interval contains 0 or lies below it, or a set varies in fewer than
    `rank` directions.

    Args:
        old: one row a fact, all at one hook and position of one model.
        new: other facts.
        control: other subjects under the same prompt; what counts as foreign.
        rank: directions kept; below m and below d.
        splits: at least 20.
        seed: of the splits.
        name: says in errors and warnings what they are about.
        answers: a label a fact for old, new and control; facts of one answer stay in one
            half. None: facts are halved one by one.

    Raises:
        InputError: rank or splits out of range, labels that don't match, dimensions that
            differ, fewer than four facts in a set, or a value that isn't finite.
    """
    sets = {"old": old, "new": new, "control": control}
    x, y, z = (as_rows(rows, f"{name}, {key}", least=4) for key, rows in sets.items())
    if not x.shape[1] == y.shape[1] == z.shape[1]:
        dimensions = ", ".join(
            f"{k} {v.shape[1]}" for k, v in zip(sets, (x, y, z), strict=True)
        )
        raise InputError(f"{name}: sets differ in dimensions ({dimensions})")
    m = min(len(x) // 2, len(y), len(z))
    check_rank(rank, m, x.shape[1] - 1)  # at rank d every subspace is the whole space
    if splits < LEAST_SPLITS:
        raise InputError(
            f"{name}: overlap needs {LEAST_SPLITS} splits or more, got {splits}"
        )

    clusters = set_codes(answers, (len(x), len(y), len(z)), name)
    with threadpool_limits(1):  # matrices so small are ten times slower on two threads
        s = split_similarities(x, y, z, m, rank, splits, np.random.default_rng(seed))
        halves = half_similarities(
            (x, y, z), clusters, rank, np.random.default_rng([seed, 1])
        )
    value, low, high = _ratio(s, halves, student(clusters), m, name)
    to_new, to_control, to_itself = s.mean(0).tolist()
    return Overlap(
        overlap=value,
        low=low,
        high=high,
        s_old_new=to_new,
        s_old_control=to_control,
        s_old_old=to_itself,
        mean_distance=_mean_distance(x, y),
        rank=rank,
        rows=m,
    )


def _ratio(
    s: Similarities, halves: Halves | None, t: float, m: int, name: str
) -> tuple[float, float, float]:
    nan = float("nan")
    if np.isnan(s).any():
        warnings.warn(
            f"{name}: overlap is NaN: a set varies in fewer directions than the rank",
            stacklevel=3,
        )
        return nan, nan, nan
    above, below = (s @ ABOVE).mean(), (s @ BELOW).mean()
    width = t * standard_error(s, halves, m, lambda x: x @ BELOW)
    # At equality nothing but rounding separates old facts from the control.
    if below <= max(np.nan_to_num(width), 1e-12):
        warnings.warn(
            f"{name}: overlap is NaN: old facts are no nearer to each other than to the "
            f"control (difference {below:.3g} ± {width:.3g}); use more facts or another rank",
            stacklevel=3,
        )
        return nan, nan, nan
    value = float(above / below)
    spread = t * standard_error(s, halves, m, _linear_ratio)
    if np.isnan(spread):
        warnings.warn(
            f"{name}: the interval is NaN: half of the facts are too few, or have too few "
            "answers, for this rank; use more facts or a smaller rank",
            stacklevel=3,
        )
    return value, value - spread, value + spread


def _linear_ratio(s: Float64[np.ndarray, "*draws 3"]) -> Float64[np.ndarray, "*draws"]:
    """How much each draw's similarities move the ratio, to the first order."""
    above, below = s @ ABOVE, s @ BELOW
    scale = below.mean()
    if scale <= 0:
        return np.full(below.shape, np.nan)
    return np.asarray((above - above.mean() / scale * below) / scale)


def _mean_distance(
    old: Float64[np.ndarray, "n1 d"], new: Float64[np.ndarray, "n2 d"]
) -> float:
    spread = np.sqrt(old.var(axis=0).sum())
    return (
        float(np.linalg.norm(new.mean(0) - old.mean(0)) / spread)
        if spread
        else float("nan")
    )


def overlap(
    *,
    old: Recording,
    new: Recording,
    control: Recording,
    position: str = "subject_last",
    rank: int = 16,
    splits: int = LEAST_SPLITS,
    seed: int = 0,
) -> pd.DataFrame:
    """`subspace_overlap` at each hook: a row a hook, in the order of `old`.

    Columns: hook, layer (index of its block; missing outside the blocks), then the fields
    of `Overlap`. Every hook is split alike; intervals halve by answer.

    Raises:
        InputError: a hook or the position that a recording lacks, recordings of different
            models, or as in `subspace_overlap`.
    """
    recordings = {"old": old, "new": new, "control": control}
    check_one_model(recordings)
    check_places(recordings, old.hooks, [position])
    answers = old.table["answer"], new.table["answer"], control.table["answer"]
    rows = []
    for hook in old.hooks:
        x, y, z = (recording[hook, position].numpy() for recording in recordings.values())
        found = subspace_overlap(
            x,
            y,
            z,
            rank=rank,
            splits=splits,
            seed=seed,
            name=f"{hook}/{position}",
            answers=answers,
        )
        rows.append({"hook": hook, "layer": layer(hook), **asdict(found)})
    return pd.DataFrame(rows).astype({"layer": "Int64"})
