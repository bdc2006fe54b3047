"""Do wrong answers come from the nearest new subject?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from sklearn.neighbors import NearestNeighbors

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.facts.matching import is_right
from interfere.measures.rows import as_rows


@dataclass(frozen=True)
class NearestSubject:
    """Wrong answers compared with the answer of the nearest new subject."""

    share: float
    """Of the wrong answers, those equal to it; in [0, 1]; NaN without wrong answers."""
    permuted: float
    """The same with the new facts' answers permuted: what frequent answers alone give."""
    p_value: float
    """Share of permutations that give at least as much (the observed one counted in)."""
    wrong: int
    """How many wrong answers there were."""


def nearest_subject_share(
    *,
    old: Float[np.ndarray, "old d"],
    new: Float[np.ndarray, "new d"],
    right: Bool[np.ndarray, " old"],
    responses: Sequence[str],
    new_facts: FactSet,
    permutations: int = 999,
    seed: int = 0,
) -> NearestSubject:
    """Share of wrong answers that are the nearest new subject's answer, against chance.

    Nearest by cosine similarity in the activations of the format checkpoint, before
    anything new was learnt, after the old facts' mean is taken off both sides (a common
    direction would make all cosines alike). The p-value is a permutation test's.

    Known to mislead: where names leak their answers, a wrong guess from the name alone is the
    answer of a subject of like name, and the share is above chance without any training. Hold
    it against the Known-only control's wrong answers.

    Args:
        old: activations of the held-out facts; row i is fact i.
        new: of the new facts, in the order of `new_facts`.
        right: whether each held-out fact is answered right after training.
        responses: what the model said, by greedy generation after training.
        new_facts: subjects with their answers.
        permutations: of the new facts' answers.
        seed: of the permutations.

    Raises:
        InputError: rows that don't match, or a NaN or infinite activation.

    Source: ours; that wrong answers come from overlapping neighbours is what arXiv 2604.15574
    says.
    """
    x, y = as_rows(old, "old"), as_rows(new, "new")
    if not len(x) == len(right) == len(responses) or len(y) != len(new_facts):
        raise InputError(
            f"{len(x)} old activations, {len(right)} outcomes, {len(responses)} responses; "
            f"{len(y)} new activations, {len(new_facts)} new facts: give one a fact"
        )
    wrong = np.flatnonzero(~np.asarray(right, dtype=bool))
    if not len(wrong):
        return NearestSubject(float("nan"), float("nan"), float("nan"), 0)
    centre = x.mean(0)
    index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(y - centre)
    nearest = index.kneighbors(x[wrong] - centre, return_distance=False)[:, 0]
    answers = list(dict.fromkeys(fact.answer for fact in new_facts))
    codes = np.array([answers.index(fact.answer) for fact in new_facts])
    by_answer: dict[str, Fact] = {fact.answer: fact for fact in new_facts}
    said = np.array(
        [
            [is_right(responses[int(i)], by_answer[answer]) for answer in answers]
            for i in wrong
        ]
    )
    rows = np.arange(len(wrong))
    share = float(said[rows, codes[nearest]].mean())
    rng = np.random.default_rng(seed)
    chance = np.array(
        [said[rows, rng.permutation(codes)[nearest]].mean() for _ in range(permutations)]
    )
    p_value = (1 + int((chance >= share).sum())) / (1 + permutations)
    return NearestSubject(share, float(chance.mean()), float(p_value), len(wrong))
