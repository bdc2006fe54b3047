"""Rows for tests of measures that compare the same facts twice."""

import numpy as np


def gaussian(seed: int, *shape: int) -> np.ndarray:
    """Independent standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def rotation(seed: int, d: int) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(gaussian(seed, d, d))[0]


def changed(seed: int, n: int, d: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Before and after: the same rows with noise, in d and d + 1 dimensions."""
    before = gaussian(seed, n, d)
    mixed = before @ gaussian(seed + 1, d, d + 1)
    return before, mixed + noise * gaussian(seed + 2, n, d + 1)
