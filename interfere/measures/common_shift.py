"""What the other facts of a relation moved by on average."""

import numpy as np
from jaxtyping import Float64

from interfere.measures.rows import Labels, as_codes


def common_shift(
    displacement: Float64[np.ndarray, "facts d"],
    relations: Labels,
    name: str = "relations",
) -> Float64[np.ndarray, "facts d"]:
    """For each fact the mean displacement of its relation's other facts.

    The fact itself is left out, so nothing of its own movement is called common. NaN: the
    fact is its relation's only one.

    Args:
        displacement: one row a fact.
        relations: one label a fact.
        name: says in errors what the labels are.

    Raises:
        InputError: not a label a fact, or a label that is missing.
    """
    codes = as_codes(relations, len(displacement), name)
    counts = np.bincount(codes)
    sums = np.zeros((len(counts), displacement.shape[1]))
    np.add.at(sums, codes, displacement)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((sums[codes] - displacement) / (counts[codes] - 1)[:, None])
