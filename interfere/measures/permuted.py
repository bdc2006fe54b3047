"""What a number would be if labels meant nothing: its values under permuted labels."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.special import gammaln

from interfere.errors import InputError

PERMUTATIONS = 999

LEAST_DEALS = 40
"""Below, no p-value could reach .05."""


@dataclass(frozen=True)
class Permuted:
    """A number's distribution when labels are permuted, and where the true one lies in it."""

    mean: float
    low: float
    """2.5 % of the permutations give less."""
    high: float
    """2.5 % give more."""
    p_value: float
    """Two-sided: twice the share at least as far out on the nearer side, the true labels
    counted in; at least 2 / (1 + permutations), at most 1. Uniform where labels were dealt
    by chance as the permutations deal them."""


def dealt_anew(
    is_new: Bool[np.ndarray, " facts"],
    answers: Int[np.ndarray, " facts"],
    generator: np.random.Generator,
) -> Bool[np.ndarray, " facts"]:
    """Which facts are new, dealt again as they would be if new facts were like old ones.

    Within an answer that both sets have, facts change places. An answer that lies in one
    set changes places with others of as many facts, as a whole: its facts are alike, and
    dealt one by one they would give a null that is too narrow. So each set keeps its size;
    an answer of a size of its own stays where it is.

    Args:
        is_new: a flag a fact of old ∪ new.
        answers: codes from 0, without a gap.
        generator: of the dealing.
    """
    blocks = np.argsort(answers, kind="stable")
    shuffled = np.lexsort((generator.random(len(answers)), answers))
    found = np.empty_like(is_new)
    found[shuffled] = is_new[blocks]
    share = np.bincount(answers, is_new) / np.bincount(answers)
    whole = (share == 0) | (share == 1)
    side, size = share == 1, np.bincount(answers)
    for alike in (whole & (size == n) for n in np.unique(size[whole])):
        side[alike] = generator.permutation(side[alike])
    return np.where(whole[answers], side[answers], found)


def can_be_dealt(
    is_new: Bool[np.ndarray, " facts"], answers: Int[np.ndarray, " facts"], name: str
) -> bool:
    """Whether `dealt_anew` has LEAST_DEALS or more results; warns if not."""
    new, size = np.bincount(answers, is_new), np.bincount(answers)
    whole = (new == 0) | (new == size)
    ways = _log_choices(size[~whole], new[~whole]).sum()
    for n in np.unique(size[whole]):
        alike = whole & (size == n)
        ways += _log_choices(np.asarray(alike.sum()), np.asarray((new[alike] > 0).sum()))
    enough = bool(ways >= np.log(LEAST_DEALS))
    if not enough:
        warnings.warn(
            f"{name}: what mixed labels give is NaN: facts can be dealt to the two sets in "
            f"{round(float(np.exp(ways)))} ways only; it needs more answers",
            stacklevel=3,
        )
    return enough


def _log_choices(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Logarithm of the ways to choose k of n."""
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


NOTHING = Permuted(*(float("nan"),) * 4)
"""Where labels can't be permuted."""


def against_permuted(
    value: float, permuted: Float64[np.ndarray, " permutations"]
) -> Permuted:
    """Lay a value beside those of permuted labels.

    NaN where the value or a permutation's is.

    Raises:
        InputError: no permutations.
    """
    if not len(permuted):
        raise InputError("permutations must be 1 or more, got 0")
    if not (np.isfinite(value) and np.isfinite(permuted).all()):
        return NOTHING
    # Equal up to rounding is equal: sums come in another order.
    slack = 1e-12 * max(abs(value), float(np.abs(permuted).max()))
    above = 1 + int((permuted >= value - slack).sum())
    below = 1 + int((permuted <= value + slack).sum())
    low, high = np.quantile(permuted, [0.025, 0.975]).tolist()
    p_value = min(1.0, 2 * min(above, below) / (1 + len(permuted)))
    return Permuted(float(permuted.mean()), low, high, p_value)
