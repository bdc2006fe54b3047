"""New facts against old ones by every measure of two sets, at every hook and position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.measures.answer_distance import answer_distance
from interfere.measures.cross_neighbours import cross_neighbours
from interfere.measures.domain_classifier import domain_classifier
from interfere.measures.holm import holm
from interfere.measures.metrics import Metric
from interfere.measures.one_model import check_one_model, check_places
from interfere.measures.permuted import Permuted
from interfere.measures.principal_angles import principal_angles
from interfere.measures.rows import Labels, as_rows
from interfere.measures.statistics import Interval
from interfere.models.layers import layer

Found = tuple[Interval, Permuted]


@dataclass(frozen=True)
class _Place:
    """Both sets at one hook and position, and how they are to be measured."""

    old: Float64[np.ndarray, "n1 d"]
    new: Float64[np.ndarray, "n2 d"]
    answers: tuple[Labels, Labels]
    rank: int
    k: int
    metric: Metric
    permutations: int
    seed: int
    name: str


def _new_neighbours(at: _Place) -> Found:
    found = cross_neighbours(
        at.old,
        at.new,
        k=at.k,
        metric=at.metric,
        answers=at.answers[0],
        new_answers=at.answers[1],
        permutations=at.permutations,
        seed=at.seed,
        name=at.name,
    )
    return found.share, found.permuted


def _answer_ratio(at: _Place) -> Found:
    found = answer_distance(
        at.old,
        at.new,
        *at.answers,
        metric=at.metric,
        permutations=at.permutations,
        seed=at.seed,
        name=at.name,
    )
    return found.ratio, found.permuted


def _domain_auc(at: _Place) -> Found:
    found = domain_classifier(
        at.old,
        at.new,
        *at.answers,
        shuffles=at.permutations,
        seed=at.seed,
        name=at.name,
    )
    return found.auc, found.shuffled


def _mean_angle(at: _Place) -> Found:
    found = principal_angles(
        at.old,
        at.new,
        rank=at.rank,
        answers=at.answers,
        permutations=at.permutations,
        seed=at.seed,
        name=at.name,
    )
    return found.mean, found.permuted


MEASURES: dict[str, Callable[[_Place], Found]] = {
    "new_neighbours": _new_neighbours,
    "answer_ratio": _answer_ratio,
    "domain_auc": _domain_auc,
    "mean_angle": _mean_angle,
}
"""Share of new facts among an old fact's nearest; distance to new facts with its answer
over that to others; AUC of a linear classifier; mean principal angle in radians."""


def new_against_old(
    *,
    old: Recording,
    new: Recording,
    hooks: Sequence[str] | None = None,
    positions: Sequence[str] | None = None,
    measures: Sequence[str] = tuple(MEASURES),
    rank: int = 16,
    k: int = 10,
    metric: Metric = "cosine",
    permutations: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a hook, position and measure: its value, interval, and what mixed labels give.

    Columns: hook, layer (missing outside the blocks), position, measure, value, low, high
    (95 %), smallest (difference that could have shown), permuted, permuted_low,
    permuted_high (95 % of permutations), p_value, p_holm (over the hooks and positions of a
    measure; no smaller than their number times 2 / (1 + permutations)). Labels permuted: old
    and new, by answer (`permuted.dealt_anew`); for `answer_ratio` the names of the new facts'
    answers. The overlap proper, which needs a control, is `overlap`; subjects' tokens are
    `token_overlap`.

    Args:
        old: recorded before the new facts are trained.
        new: likewise, by the same model.
        hooks: None: all of `old`.
        positions: None: all of `old`.
        measures: of `MEASURES`.
        rank: directions of `mean_angle`.
        k: neighbours of `new_neighbours`.
        metric: of `new_neighbours` and `answer_ratio`.
        permutations: at each place; None: 40 for each place, so that p_holm can fall below
            .05, and 99 at least.
        seed: of all permutations, folds and resamples.

    Raises:
        InputError: recordings of different models, a hook or position that one lacks, an
            unknown measure, or as the measures raise.
    """
    if unknown := [name for name in measures if name not in MEASURES]:
        raise InputError(f"unknown measure {unknown[0]!r}; there are {', '.join(MEASURES)}")
    recordings = {"old": old, "new": new}
    check_one_model(recordings)
    hooks = old.hooks if hooks is None else hooks
    positions = old.positions if positions is None else positions
    check_places(recordings, hooks, positions)
    places = list(product(hooks, positions))
    permutations = max(99, 40 * len(places)) if permutations is None else permutations
    answers = old.table["answer"], new.table["answer"]
    rows = []
    for hook, position in places:
        name = f"{hook}/{position}"
        x, y = (as_rows(r[hook, position].numpy(), name) for r in (old, new))

        at = _Place(x, y, answers, rank, k, metric, permutations, seed, name)
        for measure in measures:
            interval, permuted = MEASURES[measure](at)
            rows.append(
                {
                    "hook": hook,
                    "layer": layer(hook),
                    "position": position,
                    "measure": measure,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "smallest": interval.smallest,
                    "permuted": permuted.mean,
                    "permuted_low": permuted.low,
                    "permuted_high": permuted.high,
                    "p_value": permuted.p_value,
                }
            )
    table = pd.DataFrame(rows).astype({"layer": "Int64"})
    by_measure = table.groupby("measure", sort=False)["p_value"]
    return table.assign(p_holm=by_measure.transform(lambda p: holm(p.to_numpy())))
