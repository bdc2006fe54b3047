"""SLiCK's categories from what was right under each prompt."""

import numpy as np
from jaxtyping import Bool, Float

CATEGORIES = ("HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown")
SAMPLES = 16
"""Sampled answers a prompt, in Gekhman et al. (arXiv 2405.05904)."""
STRICT = 0.05
"""An Unknown fact is strictly so if pi is below."""


def ever_right(
    probability: Float[np.ndarray, "prompts facts"],
) -> Float[np.ndarray, " facts"]:
    """pi = 1 - ∏ (1 - p_i)^16: that at least one of 16 samples under some prompt is right.

    Args:
        probability: p_i in [0, 1] of sampling a right answer once, by prompt and fact.
    """
    with np.errstate(divide="ignore"):
        misses = SAMPLES * np.log1p(-np.clip(probability, 0, 1)).sum(0)
    return np.asarray(0.0 - np.expm1(misses))


def categories(
    right: Bool[np.ndarray, "prompts facts"], pi: Float[np.ndarray, " facts"]
) -> tuple[list[str], Bool[np.ndarray, " facts"]]:
    """A category for each fact, and whether it is strictly Unknown.

    HighlyKnown: greedy right under all prompts. MaybeKnown: under some. WeaklyKnown: under
    none, pi ≥ .5. Unknown: none, pi < .5; strictly: pi < .05.

    Source: Gekhman et al. (arXiv 2405.05904), table 2, with "sampled at least once" read as
    pi ≥ .5.
    """
    every, some = right.all(0), right.any(0)
    found = np.select([every, some, pi >= 0.5], CATEGORIES[:3], default=CATEGORIES[3])
    strict = ~some & (pi < STRICT)
    return [str(name) for name in found], strict
