"""Subjects that are spelt nearly alike, so that they never face each other in a test."""

import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from scipy import sparse
from scipy.sparse import csgraph
from sklearn.feature_extraction.text import CountVectorizer

LEAST = 0.6
"""Trigrams in common that make two subjects near-duplicates."""


def near_duplicates(
    subjects: Sequence[str], *, least: float = LEAST
) -> Int[np.ndarray, " facts"]:
    """A group number a subject; subjects in one group are spelt nearly alike.

    Two subjects are joined where the sets of their character trigrams (case and accents
    dropped, words padded with spaces) have a Jaccard index of at least `least`: "San José"
    and "San Jose" (1.0), "New York" and "New York City" (.64), not "Fort Worth" and "Fort
    Wayne" (.33). Groups are what such pairs connect, so that a chain is one group. Memory:
    a number for each pair of subjects that shares a trigram.
    """
    plain = [_plain(subject) for subject in subjects]
    counter = CountVectorizer(
        analyzer="char_wb", ngram_range=(3, 3), binary=True, dtype=np.int32
    )
    # A name of one letter has no other trigram than its padding makes.
    trigrams = counter.fit_transform([text or "\0" for text in plain])
    shared = sparse.coo_matrix(trigrams @ trigrams.T)
    sizes = np.asarray(trigrams.sum(axis=1)).ravel()
    union = sizes[shared.row] + sizes[shared.col] - shared.data
    near = shared.data >= least * union
    pairs = sparse.coo_matrix(
        (np.ones(int(near.sum())), (shared.row[near], shared.col[near])),
        shape=shared.shape,
    )
    _, groups = csgraph.connected_components(pairs, directed=False)
    return np.asarray(groups, dtype=np.int64)


def _plain(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part)).strip()
