"""Activations as every measure takes them: float64 rows, finite, enough of them."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from interfere.errors import InputError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""A numpy array of any shape."""

Labels: TypeAlias = Array | Sequence[Any] | pd.Series
"""One label a fact, such as its answer."""

ROUNDING = 1e-12
"""A sum of squares this small a share of the raw one is rounding, not signal."""


def as_rows(
    x: Array | Tensor, name: str = "activations", *, least: int = 1
) -> Float64[np.ndarray, "n d"]:
    """One fact a row, in float64; axes after the first (heads) are laid side by side.

    Args:
        x: numbers of any float type, fact by fact.
        name: says in errors what is at fault, such as a hook.
        least: how few rows are refused.

    Raises:
        InputError: no such rows, fewer than `least`, or a NaN or infinite value.
    """
    if isinstance(x, Tensor):
        x = x.detach().to("cpu", torch.float64).numpy()
    if x.ndim < 2:
        raise InputError(f"{name}: expected a row a fact, got an array of shape {x.shape}")
    if len(x) < least:
        raise InputError(f"{name}: needs at least {least} facts, got {len(x)}")
    rows = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{name}: fact {int(np.argmin(finite))} has a NaN or infinite activation "
            f"({int((~finite).sum())} of {len(rows)} facts have); leave such facts out"
        )
    return rows


def paired_rows(
    before: Array | Tensor, after: Array | Tensor, measure: str, *, least: int = 4
) -> tuple[Float64[np.ndarray, "n d1"], Float64[np.ndarray, "n d2"]]:
    """Both sides as `as_rows` makes them; row i is fact i in both.

    Raises:
        InputError: row counts differ, fewer than `least`, or as in `as_rows`.
    """
    if len(before) != len(after) or len(before) < least:
        raise InputError(
            f"{measure} needs the same {least} or more facts twice, got {len(before)} and "
            f"{len(after)} rows; for two sets of facts use subspace_overlap"
        )
    return as_rows(before, "before"), as_rows(after, "after")


def as_codes(
    labels: Labels, facts: int, name: str = "clusters"
) -> Int[np.ndarray, " facts"]:
    """Labels as integers 0, 1, …, in order of first appearance.

    Raises:
        InputError: not one label a fact, or a label that is missing.
    """
    # As objects: beside strings, numpy would make a missing label the string "nan".
    values = labels if isinstance(labels, pd.Series) else np.asarray(labels, dtype=object)
    if values.shape != (facts,):
        raise InputError(
            f"{name}: expected a label for each of {facts} facts, got {len(values)}"
        )
    codes, _ = pd.factorize(values)
    if (codes < 0).any():
        raise InputError(f"{name}: fact {int(np.argmin(codes))} has no label")
    return codes
