"""The control of a probe: labels that mean nothing, the same for all facts of a type."""

import numpy as np
from jaxtyping import Int

from interfere.measures.rows import Labels, as_codes


def control_labels(
    codes: Int[np.ndarray, " facts"], types: Labels, *, seed: int = 0
) -> Int[np.ndarray, " facts"]:
    """A random class for each type, with the classes' own frequencies.

    Facts of one type get one class, whatever theirs is. A probe can read it of facts that
    it has not seen only by memorising what marks a type.

    Args:
        codes: the true class of each fact.
        types: what recurs and does not decide the class, such as the subject's last token.
        seed: of the drawing.

    Source: Hewitt & Liang 2019, arXiv 1909.03368, §2: word types with random labels.
    """
    kinds = as_codes(types, len(codes), "types")
    generator = np.random.default_rng(seed)
    return generator.choice(codes, int(kinds.max()) + 1)[kinds]


def recurring(types: Labels, fold: Int[np.ndarray, " facts"]) -> float:
    """Share of the facts whose type is also in another fold, so that it can be memorised."""
    kinds = as_codes(types, len(fold), "types")
    folds = np.zeros((int(kinds.max()) + 1, int(fold.max()) + 1), dtype=bool)
    folds[kinds, fold] = True
    return float((folds.sum(1) > 1)[kinds].mean())
