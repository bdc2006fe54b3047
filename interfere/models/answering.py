"""Does the model answer right? Teacher forcing through all accepted forms of the answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.asked import Asked, as_asked
from interfere.models.forest import Forest
from interfere.models.head import body, unembed
from interfere.models.model import Model
from interfere.models.shared_prefix import expand, gather, lend, run_prefix
from interfere.models.trie import Trie, terminators

NEGLIGIBLE = 1e-6
"""Forms that sampling begins with a smaller probability are not followed further."""

HEAD_ROWS = 256
"""Positions that go through the unembedding at a time: bounds the logits held."""


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
    terminator. The probability is the sum over that trie of products of token probabilities,
    the terminators' too, each after temperature, then top-k, then renormalisation. It
    misses what else normalisation forgives, and branches under a probability of 1e-6.

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
    with _quiet(model), torch.inference_mode():
        shared = run_prefix(model.network, head)
        for batch in _batches(rows, asked.tries, batch_tokens):
            forest = Forest([asked.tries[i] for i in batch], ends)
            scorer = _Batch(model, forest, shared, [rows[i] for i in batch])
            logprob[batch] = scorer.canonical(temperature, top_k)
            scorer.branches(
                NEGLIGIBLE if sampling else np.inf, temperature, top_k, batch_tokens
            )
            right[batch], chance = forest.results()
            if sampling:
                probability[batch] = chance
    return Answers(right, probability, logprob)


@contextmanager
def _quiet(model: Model) -> Iterator[None]:
    """Evaluation mode inside, whatever mode it was outside."""
    training = model.network.training
    model.network.eval()
    try:
        yield
    finally:
        model.network.train(training)


def _batches(
    rows: Sequence[Sequence[int]], tries: Sequence[Trie], batch_tokens: int
) -> Iterator[Int[np.ndarray, " b"]]:
    """Rows of like length together, at least one a batch; a pure function of the rows."""
    lengths = np.array(
        [len(row) + len(trie.canonical) - 1 for row, trie in zip(rows, tries, strict=True)],
        dtype=int,
    )
    order = np.argsort(lengths, kind="stable")
    begin = 0
    while begin < len(order):
        end = begin + 1
        while end < len(order) and (end + 1 - begin) * lengths[order[end]] <= batch_tokens:
            end += 1
        yield order[begin:end]
        begin = end


class _Batch:
    """One batch under way: its forest, and the keys and values of its prompts."""

    def __init__(
        self,
        model: Model,
        forest: Forest,
        shared: DynamicCache | None,
        prompts: Sequence[Sequence[int]],
    ) -> None:
        self.model, self.forest, self.prompts = model, forest, prompts
        self.before = shared.get_seq_length() if shared is not None else 0
        self.cache = expand(shared, len(prompts))

    def canonical(self, temperature: float, top_k: int) -> Float[np.ndarray, " rows"]:
        """Run prompts and canonical answers; their log-probabilities."""
        spines = [
            np.array(t.spine) + o for t, o in zip(self.forest.tries, self.forest.offset)
        ]
        rows = [
            [*prompt, *trie.canonical[:-1]]
            for prompt, trie in zip(self.prompts, self.forest.tries, strict=True)
        ]
        starts = np.zeros(len(rows), dtype=int)
        mask = torch.ones(len(rows), self.before)
        hidden = self._run(rows, starts, mask, self.cache)
        at = [
            (i, len(self.prompts[i]) - 1 + j)
            for i, s in enumerate(spines)
            for j in range(len(s))
        ]
        total = np.zeros(len(rows))
        owner, position = np.array(at).T
        nodes = np.concatenate(spines)
        said = np.concatenate([trie.canonical for trie in self.forest.tries])
        for part in _parts(len(nodes)):
            logits = self._logits(hidden, owner[part], position[part])
            self.forest.read(nodes[part], logits, temperature=temperature, top_k=top_k)
            token = torch.from_numpy(said[part]).to(logits.device)[:, None]
            score = logits.gather(1, token)[:, 0] - logits.logsumexp(1)
            np.add.at(total, owner[part], score.double().cpu().numpy())
        return total

    def branches(
        self, negligible: float, temperature: float, top_k: int, batch_tokens: int
    ) -> None:
        """Run the other forms that can still matter, from the prompts' keys and values."""
        forest = self.forest
        leaves = forest.frontier(negligible)
        room = max(1, batch_tokens // (self.cache.get_seq_length() - self.before))
        for begin in range(0, len(leaves), room):
            chosen = leaves[begin : begin + room]
            owner = forest.owner[chosen]
            paths = [
                np.array(forest.tries[i].path(int(leaf - forest.offset[i])))
                + forest.offset[i]
                for leaf, i in zip(chosen, owner, strict=True)
            ]
            paths = [path[forest.needs_logits[path]] for path in paths]
            device = self.model.device
            cache = gather(self.cache, torch.from_numpy(owner).to(device))
            ends = np.array([len(self.prompts[i]) for i in owner])
            past = np.arange(self.cache.get_seq_length())
            mask = torch.from_numpy(past[None] < (self.before + ends)[:, None])
            rows = [forest.token[path].tolist() for path in paths]
            hidden = self._run(rows, ends, mask, cache)
            nodes = np.concatenate(paths)
            row = np.repeat(np.arange(len(paths)), [len(path) for path in paths])
            column = np.concatenate([np.arange(len(path)) for path in paths])
            nodes, first = np.unique(nodes, return_index=True)
            fresh = ~forest.known[nodes]
            nodes, first = nodes[fresh], first[fresh]
            for part in _parts(len(nodes)):
                logits = self._logits(hidden, row[first[part]], column[first[part]])
                forest.read(nodes[part], logits, temperature=temperature, top_k=top_k)

    def _run(
        self,
        rows: Sequence[Sequence[int]],
        starts: Int[np.ndarray, " rows"],
        past: Tensor,
        cache: DynamicCache,
    ) -> Float[Tensor, "rows width d"]:
        """Last hidden states; row i's first token stands `starts[i]` after the prefix."""
        device = self.model.device
        lengths = np.array([len(row) for row in rows])
        width = int(lengths.max())
        ids = np.zeros((len(rows), width), dtype=int)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        real = torch.from_numpy(np.arange(width)[None] < lengths[:, None])
        positions = self.before + starts[:, None] + np.arange(width)[None]
        inner = body(self.model.network)
        output = inner(
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.cat([past.long(), real.long()], 1).to(device),
            position_ids=torch.from_numpy(positions).to(device),
            use_cache=True,
            **lend(inner, cache),
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _logits(
        self,
        hidden: Float[Tensor, "rows width d"],
        row: Int[np.ndarray, " n"],
        column: Int[np.ndarray, " n"],
    ) -> Float[Tensor, "n v"]:
        rows, columns = (torch.from_numpy(i).to(hidden.device) for i in (row, column))
        return unembed(self.model.network, hidden[rows, columns]).float()


def _parts(n: int) -> Iterator[slice]:
    return (slice(begin, begin + HEAD_ROWS) for begin in range(0, n, HEAD_ROWS))
