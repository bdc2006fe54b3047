"""What the overlap would be if new facts were old ones, or were the control."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from threadpoolctl import threadpool_limits
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.overlap_splits import two_splits
from interfere.measures.rows import as_rows
from interfere.measures.subspaces import check_rank


@dataclass(frozen=True)
class OverlapNull:
    """Draws of the overlap; NaN where a set varies in fewer directions than the rank."""

    as_old: Float64[np.ndarray, " draws"]
    """Some of the old facts in the place of the new: about 1."""
    as_control: Float64[np.ndarray, " draws"]
    """Half of the control in the place of the new: about 0."""


def overlap_null(
    old: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    control: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    *,
    rank: int = 16,
    rows: int | None = None,
    draws: int = 40,
    seed: int = 0,
    name: str = "overlap",
) -> OverlapNull:
    """The overlap of `subspace_overlap` where there is nothing new.

    as_old: a random third of the old facts, at most `rows`, stands for the new ones, the
    rest stays old. as_control: a random half of the control stands for the new, the other
    half stays the control. A draw is the mean of two splits. There are fewer facts in a
    set than the true overlap has, so the draws spread further than it would: a value
    outside them is outside. Labels of new and control facts are not pooled, since a mixture
    of unlike facts has other subspaces than either. Blind to one rotation, scaling and
    shift of all rows.

    Args:
        old: one row a fact, all at one hook and position of one model.
        control: other subjects under the same prompt.
        rank: directions kept; below min(old // 3, control // 2) and below d.
        rows: of the true overlap's sets (`Overlap.rows`); None: as many as there are.
        draws: of each kind.
        seed: of the draws.
        name: says in errors what they are about.

    Raises:
        InputError: rank out of range, dimensions that differ, fewer than four facts in a
            set, or a value that isn't finite.
    """
    x = as_rows(old, f"{name}, old", least=4)
    z = as_rows(control, f"{name}, control", least=4)
    if x.shape[1] != z.shape[1]:
        raise InputError(
            f"{name}: old facts have {x.shape[1]} dimensions and the control {z.shape[1]}; "
            "use one hook of one model"
        )
    most = max(len(x), len(z)) if rows is None else rows
    third, half = min(len(x) // 3, len(z), most), min(len(x) // 2, len(z) // 2, most)
    check_rank(rank, min(third, half), x.shape[1] - 1)
    generator = np.random.default_rng(seed)
    as_old, as_control = np.empty((draws, 3)), np.empty((draws, 3))
    with threadpool_limits(1):  # matrices so small are ten times slower on two threads
        for draw in range(draws):
            pool = generator.permutation(x)
            sets = pool[third:], pool[:third], z
            as_old[draw] = two_splits(*sets, third, rank, generator)
            pool = generator.permutation(z)
            sets = x, pool[:half], pool[half:]
            as_control[draw] = two_splits(*sets, half, rank, generator)
    return OverlapNull(_overlap(as_old), _overlap(as_control))


def _overlap(s: Float64[np.ndarray, "draws 3"]) -> Float64[np.ndarray, " draws"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((s[:, 0] - s[:, 1]) / (s[:, 2] - s[:, 1]))
