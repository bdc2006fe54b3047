"""Token overlap: do new subjects look like the old ones, before any activation?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int
from scipy import sparse

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.questions import prompt
from interfere.measures.rows import Labels
from interfere.measures.statistics import Interval, mean_interval
from interfere.models.encoding import encode_prompts, subject_spans
from interfere.models.model import Model

Tokens = Sequence[Sequence[int]]
"""Token ids of each fact's subject, in order."""


@dataclass(frozen=True)
class TokenOverlap:
    """How much of each old subject's tokens a new subject has."""

    jaccard: Float64[np.ndarray, " old"]
    """Largest |A ∩ B| / |A ∪ B| of the old subject's token set with a new one's; [0, 1]."""
    nearest: Int[np.ndarray, " old"]
    """The new fact it is reached with; the first of equals."""
    covered: Float64[np.ndarray, " old"]
    """Share of the old subject's distinct tokens that occur in any new subject; [0, 1]."""
    shares_last: Bool[np.ndarray, " old"]
    """Whether a new subject ends in the same token."""
    mean_jaccard: Interval
    """Over old facts; new facts as they are."""
    share_last: Interval
    """Share of old facts that share their last token with a new one."""


def token_overlap(
    old: Tokens,
    new: Tokens,
    *,
    answers: Labels | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> TokenOverlap:
    """Overlap of token sets, fact by fact; order and repeats within a subject don't count.

    More new facts can only raise it, so compare sets of as many. Intervals resample the
    old facts' answers (None: facts) with the new facts as given.

    Raises:
        InputError: no facts, or a subject without tokens.

    Source: KnownPatch (arXiv 2511.02626) relates the token overlap of new and old subjects
    to hallucination; the largest Jaccard index a fact is interfere's own form of it.
    """
    for side, subjects in (("old", old), ("new", new)):
        if not len(subjects):
            raise InputError(f"token overlap needs facts, got no {side} ones")
        if empty := [i for i, ids in enumerate(subjects) if not len(ids)]:
            raise InputError(f"{side} fact {empty[0]} has a subject without tokens")
    vocabulary = 1 + max(max(ids) for ids in (*old, *new))
    a, b = (_sets(subjects, vocabulary) for subjects in (old, new))
    common = (a @ b.T).toarray()
    own, others = (np.asarray(rows.sum(1)).ravel() for rows in (a, b))
    jaccard = common / (np.add.outer(own, others) - common)
    seen = np.asarray(b.sum(0)).ravel() > 0
    last = {ids[-1] for ids in new}
    ends = np.array([ids[-1] in last for ids in old])
    nearest = jaccard.argmax(1)
    best = jaccard[np.arange(len(old)), nearest]
    clusters = np.arange(len(old)) if answers is None else answers
    means = (
        mean_interval(values[None], clusters, resamples=resamples, seed=seed)
        for values in (best, ends.astype(np.float64))
    )
    return TokenOverlap(
        best, nearest, np.asarray(a @ seen.astype(float)) / own, ends, *means
    )


def subject_tokens(model: Model, facts: FactSet) -> list[list[int]]:
    """Token ids of each subject as it stands in its question.

    A token that holds a character of the subject counts as the subject's.

    Raises:
        InputError: a fact whose question does not hold its subject.
    """
    prompts = [prompt(fact) for fact in facts]
    spans = subject_spans(model.tokenizer, prompts, [fact.subject for fact in facts])
    rows = zip(encode_prompts(model.tokenizer, prompts), spans, strict=True)
    return [ids[first : last + 1] for ids, (first, last) in rows]


def subject_overlap(model: Model, old: FactSet, new: FactSet) -> pd.DataFrame:
    """`token_overlap` of two sets of facts: a row an old fact.

    Columns: fact (its id), subject, jaccard, nearest (the new subject it is reached with),
    covered, shares_last.

    Raises:
        InputError: as in `subject_tokens` and `token_overlap`.
    """
    found = token_overlap(
        subject_tokens(model, old),
        subject_tokens(model, new),
        answers=[fact.answer for fact in old],
    )
    return pd.DataFrame(
        {
            "fact": old.ids,
            "subject": [fact.subject for fact in old],
            "jaccard": found.jaccard,
            "nearest": [new[int(i)].subject for i in found.nearest],
            "covered": found.covered,
            "shares_last": found.shares_last,
        }
    )


def _sets(subjects: Tokens, vocabulary: int) -> sparse.csr_array:
    """A row a subject, 1 at each of its tokens."""
    distinct = [sorted(set(ids)) for ids in subjects]
    columns = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in distinct])
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in distinct])])
    ones = np.ones(len(columns), dtype=np.int64)
    return sparse.csr_array((ones, columns, starts), shape=(len(subjects), vocabulary))
