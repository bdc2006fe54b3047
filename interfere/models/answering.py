"""Does the model answer right? Teacher forcing through all accepted forms of the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.asked import Asked, as_asked
from interfere.models.batches import batches_by_length
from interfere.models.evaluating import evaluating
from interfere.models.forest import Forest
from interfere.models.model import Model
from interfere.models.prefix_attention import prefix_of
from interfere.models.scorer import Scorer
from interfere.models.trie import Trie, terminators

NEGLIGIBLE = 1e-5
"""Forms that sampling begins with a smaller probability are not followed further; ten times
as much once a right answer is certain."""


@dataclass(frozen=True)
class Answers:
    """How a model answers facts; entry i is fact i."""

    right: Bool[np.ndarray, " facts"]
    """The greedy answer is an accepted form."""
    probability: Float[np.ndarray, " facts"]
    """Of sampling an accepted form, in [0, 1]; a lower bound; NaN if not asked for."""
    logprob: Float[np.ndarray, " facts"]
    """Nats: the canonical answer and its newline, at temperature 1, without top-k."""


def ask(
    model: Model,
    facts: FactSet,
    *,
    prefix: str = "",
    paraphrase: bool = False,
    temperature: float = 0.5,
    top_k: int = 40,
    sampling: bool = True,
    batch_tokens: int = 1024,
    share_prefix: bool = True,
) -> Answers:
    """Ask every fact after `prefix` and score the answers, in the facts' order.

    Greedy is right if the argmax walk through the token trie of accepted forms ends in a
    terminator. The probability is the sum over that trie of products of probabilities of
    tokens, the terminators' too, each after temperature, then top-k, then renormalisation.
    It misses what else normalisation forgives, and branches under a probability of 1e-5 (of
    1e-4 where a right answer is certain already).

    Batches are made by length from the whole list of facts; padding moves the last bits.

    Args:
        model: left as it was, in training mode or not.
        facts: any number; none give empty arrays.
        prefix: answered questions to stand before each (`few_shot_prefix`).
        paraphrase: ask in the relation's second wording.
        temperature: of sampling; above 0.
        top_k: of sampling; at least 1.
        sampling: whether the probability is wanted too.
        batch_tokens: padded tokens in a batch, the shared prefix not counted.
        share_prefix: run the prefix once instead of in every row; the results agree.

    Raises:
        InputError: a fact without a question or a visible answer, temperature or top_k out
            of range, an architecture whose head is not known.
    """
    asked = as_asked(model.tokenizer, facts, paraphrase=paraphrase)
    return ask_again(
        model,
        asked,
        prefix=prefix,
        temperature=temperature,
        top_k=top_k,
        sampling=sampling,
        batch_tokens=batch_tokens,
        share_prefix=share_prefix,
    )


def ask_again(
    model: Model,
    asked: Asked,
    *,
    prefix: str = "",
    temperature: float = 0.5,
    top_k: int = 40,
    sampling: bool = True,
    batch_tokens: int = 1024,
    share_prefix: bool = True,
) -> Answers:
    """As `ask`, for facts that are tokens already (`as_asked`)."""
    if not temperature > 0:
        raise InputError(f"temperature must be above 0, got {temperature}")
    if top_k < 1:
        raise InputError(f"top_k must be at least 1, got {top_k}")
    n = len(asked.tokens)
    right, probability = np.zeros(n, dtype=bool), np.full(n, np.nan)
    logprob = np.zeros(n)
    head, rows = asked.after(model.tokenizer, prefix, share=share_prefix)
    ends = terminators(model.tokenizer)
    with evaluating(model.network), torch.inference_mode():
        shared = prefix_of(model.network, head, _longest(rows, asked.tries))
        for batch in batches_by_length(_lengths(rows, asked.tries), batch_tokens):
            tries = [asked.tries[i] for i in batch]
            forest = Forest(tries, ends, temperature=temperature, top_k=top_k)
            scorer = Scorer(model, forest, shared, [rows[i] for i in batch])
            logprob[batch] = scorer.canonical()
            scorer.branches(NEGLIGIBLE if sampling else np.inf)
            right[batch], chance = forest.results()
            if sampling:
                probability[batch] = chance
    return Answers(right, probability, logprob)


def _longest(rows: Sequence[Sequence[int]], tries: Sequence[Trie]) -> int:
    return max(
        (len(row) + int(trie.depth[-1]) + 1 for row, trie in zip(rows, tries, strict=True)),
        default=0,
    )


def _lengths(rows: Sequence[Sequence[int]], tries: Sequence[Trie]) -> list[int]:
    return [len(row) + len(t.canonical) - 1 for row, t in zip(rows, tries, strict=True)]
