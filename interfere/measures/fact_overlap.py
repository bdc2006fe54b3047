"""How near each single fact lies to new facts, before training."""

import warnings

import numpy as np
from jaxtyping import Float, Float64
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.rows import ROUNDING, as_rows
from interfere.measures.subspaces import basis, check_rank

DRAWS = 20


def fact_overlap(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    control: Float[np.ndarray, "n3 ..."] | Float[Tensor, "n3 ..."],
    *,
    rank: int = 16,
    seed: int = 0,
    name: str = "overlap",
) -> Float64[np.ndarray, " n1"]:
    """Each old fact's part in the new facts' principal subspace, less that in the control's.

    ‖P_new z‖² / ‖z‖² - ‖P_control z‖² / ‖z‖², z the old fact's activation less the old
    facts' mean. In [-1, 1]; above 0: the fact lies along directions in which new facts
    vary more than foreign ones do. The larger of new and control is cut to the smaller's
    number of rows, in DRAWS random ways whose mean is taken: a subspace of more rows is
    estimated better. Blind to one rotation of all rows, to a shift and a positive scale of
    each set. Unlike `subspace_overlap` it is not scaled by how near old facts are to each
    other, which no single fact has.

    NaN, with a warning, for a fact at the old facts' mean, and for all facts where new or
    control rows vary in fewer than `rank` directions.

    Args:
        old: one row a fact, all at one hook and position of one model.
        new: facts to be learnt.
        control: other subjects under the same prompt; what counts as foreign.
        rank: directions kept; below the rows of new and control, and below d.
        seed: of the draws.
        name: says in errors and warnings what they are about.

    Raises:
        InputError: dimensions that differ, a rank out of range, fewer than four facts in a
            set, or a value that isn't finite.
    """
    sets = {"old": old, "new": new, "control": control}
    x, y, z = (as_rows(rows, f"{name}, {key}", least=4) for key, rows in sets.items())
    if not x.shape[1] == y.shape[1] == z.shape[1]:
        raise InputError(
            f"{name}: sets differ in dimensions (old {x.shape[1]}, new {y.shape[1]}, "
            f"control {z.shape[1]}); use one hook and position"
        )
    m = min(len(y), len(z))
    check_rank(rank, m, x.shape[1] - 1)  # at rank d every subspace is the whole space
    centred = x - x.mean(0)
    length = np.square(centred).sum(1)
    noise = ROUNDING * (np.square(x).sum(1) + length.mean())
    length[length <= noise] = np.nan
    generator = np.random.default_rng(seed)
    inside = [_inside(centred, rows, m, rank, generator) for rows in (y, z)]
    found = (inside[0] - inside[1]) / length
    if np.isnan(found).any():
        why = f"new or control facts vary in fewer than {rank} directions"
        if not np.isnan(found).all():
            why = f"fact {int(np.argmax(np.isnan(found)))} lies at the old facts' mean"
        warnings.warn(f"{name}: overlap is NaN: {why}", stacklevel=2)
    return found


def new_distance(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    new: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    *,
    neighbours: int = 10,
    name: str = "distance",
) -> Float64[np.ndarray, " n1"]:
    """Each old fact's mean Euclidean distance to its nearest new facts.

    In units of the old facts' RMS distance from their mean; 0: new facts lie on it. Blind
    to one rotation, shift or scale of all rows. NaN, with a warning, where all old rows
    are alike.

    Args:
        old: one row a fact, all at one hook and position of one model.
        new: facts to be learnt.
        neighbours: how many of the nearest are averaged.
        name: says in errors and warnings what they are about.

    Raises:
        InputError: dimensions that differ, fewer new facts than neighbours, or a value
            that isn't finite.
    """
    x, y = as_rows(old, f"{name}, old"), as_rows(new, f"{name}, new")
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"{name}: sets differ in dimensions (old {x.shape[1]}, new {y.shape[1]}); "
            "use one hook and position"
        )
    if not 1 <= neighbours <= len(y):
        raise InputError(
            f"{name}: neighbours must be from 1 to {len(y)}, the number of new facts, "
            f"got {neighbours}"
        )
    spread = float(np.sqrt(x.var(axis=0).sum()))
    if spread**2 <= ROUNDING * np.square(x).sum() / len(x):
        warnings.warn(f"{name}: distances are NaN: old facts are all alike", stacklevel=2)
        spread = float("nan")
    centre = x.mean(0)  # changes no distance, saves digits
    index = NearestNeighbors(n_neighbors=neighbours).fit(y - centre)
    distances: Float64[np.ndarray, "n1 k"] = index.kneighbors(x - centre)[0]
    return distances.mean(1) / spread


def _inside(
    centred: Float64[np.ndarray, "n d"],
    rows: Float64[np.ndarray, "n2 d"],
    m: int,
    rank: int,
    generator: np.random.Generator,
) -> Float64[np.ndarray, " n"]:
    draws = DRAWS if len(rows) > m else 1
    found = [
        np.square(
            centred @ basis(rows[generator.choice(len(rows), m, replace=False)], rank)
        ).sum(1)
        for _ in range(draws)
    ]
    return np.asarray(np.mean(found, axis=0))
