"""Each old fact's nearest new facts, by name."""

import warnings

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.measures.metrics import METRICS, Metric, distances, place
from interfere.measures.one_model import check_one_model
from interfere.measures.rows import Labels, as_codes


def nearest_facts(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    old_names: Labels,
    new_names: Labels,
    *,
    k: int = 5,
    metric: Metric = "cosine",
    name: str = "nearest facts",
) -> pd.DataFrame:
    """A row an old fact and neighbour: which k new facts lie nearest, and how far.

    Columns: old, place (1: the nearest), new, cosine, euclidean, standardised (distances as
    in `metrics.Metric`; NaN, with a warning, where one that doesn't rank can't be had),
    among_old: the distance, by `metric`, of the neighbour at that
    place among the other old facts (missing where there are too few). A new fact nearer
    than that lies where no old fact does.

    Args:
        old: one row a fact, all at one hook and position of one model.
        new: other facts.
        old_names: one name an old fact, such as its subject or id.
        new_names: one name a new fact.
        k: neighbours; at most as many as new facts.
        metric: which distance ranks them; invariances as it has them.
        name: says in errors what they are about.

    Raises:
        InputError: k out of range, names that don't match, or as in `metrics.place`.
    """
    found = {metric: _between(old, new, metric, name)}
    for kind in METRICS:
        if kind != metric:
            found[kind] = _beside(old, new, kind, name, found[metric].shape)
    count, others = found[metric].shape
    as_codes(old_names, count, "old names")
    as_codes(new_names, others, "new names")
    if not 1 <= k <= others:
        raise InputError(f"{name}: k must be from 1 to {others} new facts, got {k}")
    order = np.argsort(found[metric], axis=1, kind="stable")[:, :k]
    x, _ = place(old, new, metric, name=name)
    within = distances((x, x), metric)
    np.fill_diagonal(within, np.inf)  # the fact itself, not "the first column"
    among = np.full((count, k), np.nan)
    few = min(k, count - 1)
    among[:, :few] = np.sort(within, axis=1)[:, :few]
    columns = {
        "old": np.repeat(np.asarray(old_names, dtype=object), k),
        "place": np.tile(np.arange(1, k + 1), count),
        "new": np.asarray(new_names, dtype=object)[order].ravel(),
    }
    for kind in METRICS:
        columns[kind] = np.take_along_axis(found[kind], order, axis=1).ravel()
    return pd.DataFrame(columns | {"among_old": among.ravel()})


def nearest_new_facts(
    *,
    old: Recording,
    new: Recording,
    hook: str,
    position: str = "subject_last",
    k: int = 5,
    metric: Metric = "cosine",
) -> pd.DataFrame:
    """`nearest_facts` of two recordings, with the facts' subjects and answers.

    Columns: old (the fact's id), old_subject, old_answer, place, new, new_subject,
    new_answer, then the distances.

    Raises:
        InputError: recordings of different models, a hook or position that one lacks, or as
            in `nearest_facts`.
    """
    check_one_model({"old": old, "new": new})
    table = nearest_facts(
        old[hook, position].numpy(),
        new[hook, position].numpy(),
        old.table["id"],
        new.table["id"],
        k=k,
        metric=metric,
        name=f"{hook}/{position}",
    )
    for side, recording in (("new", new), ("old", old)):
        facts = recording.table.set_index("id").loc[table[side]]
        at = table.columns.get_loc(side) + 1
        for column in ("answer", "subject"):
            table.insert(at, f"{side}_{column}", facts[column].to_numpy())
    return table


def _between(old: object, new: object, metric: Metric, name: str) -> np.ndarray:
    return distances(place(old, new, metric, name=name), metric)  # type: ignore[arg-type]


def _beside(
    old: object, new: object, metric: Metric, name: str, shape: tuple[int, ...]
) -> np.ndarray:
    try:
        return _between(old, new, metric, name)
    except InputError as error:
        warnings.warn(f"{metric} distances are NaN: {error}", stacklevel=3)
        return np.full(shape, np.nan)
