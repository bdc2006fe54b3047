"""Centred kernel alignment under a Gaussian kernel: near facts count, far ones hardly."""

import warnings

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.cka import CKA, u_centre
from interfere.measures.rows import ROUNDING, paired_rows


def rbf_cka(
    before: Float[Tensor, "n1 ..."] | Float[np.ndarray, "n1 ..."],
    after: Float[Tensor, "n2 ..."] | Float[np.ndarray, "n2 ..."],
    *,
    share: float = 0.8,
) -> CKA:
    """Debiased CKA with kᵢⱼ = exp(-‖xᵢ - xⱼ‖² / 2σ²); row i is fact i in both.

    σ is `share` of the median distance between two facts, on each side for itself: so the
    value is blind to rotation, scale and shift of either side, as linear CKA is. The
    smaller the share, the nearer the facts that it looks at; with a large one it nears
    linear CKA. In [-1, 1], near 0 for unrelated rows, never clamped. Float64 inside;
    memory: some n² numbers.

    NaN, with a warning, where a side is constant, all its facts are equally far apart, or
    half of the pairs or more are duplicates (the median distance is 0).

    Raises:
        InputError: share not above 0, row counts differ, fewer than 4, or a value that
            isn't finite.

    Source: Kornblith et al. 2019, arXiv 1905.00414, §3 (kernel and bandwidth); U-centred as
    in arXiv 2010.15327, eq. 3.
    """
    if not share > 0:
        raise InputError(f"share of the median distance must be above 0, got {share}")
    sides = paired_rows(before, after, "RBF CKA")
    a, b = (_kernel(torch.from_numpy(rows), share) for rows in sides)
    value = float((a * b).sum() / (a.norm() * b.norm()))
    if np.isnan(value):
        warnings.warn(
            "RBF CKA is NaN: one side is constant, has no two distances, or is mostly "
            "duplicates",
            stacklevel=2,
        )
    return CKA(value, len(before))


def _kernel(x: Float64[Tensor, "n d"], share: float) -> Float64[Tensor, "n n"]:
    """U-centred; all 0 where it says nothing."""
    raw = x.square().sum()
    x = x - x.mean(0)
    squares = x.square().sum(1)
    distances = (squares[:, None] + squares - 2 * x @ x.T).clamp_min_(0)
    pairs = torch.ones_like(distances, dtype=torch.bool).triu_(1)
    squared = float(np.median(distances[pairs].sqrt().numpy())) ** 2
    if squared <= ROUNDING * float(raw) / len(x):
        return torch.zeros_like(distances)
    kernel = torch.exp(distances / (-2 * share**2 * squared))
    return u_centre(kernel, ROUNDING * len(x))
