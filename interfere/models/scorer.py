"""Runs a batch of prompts and the forms of their answers through a model."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from interfere.models.forest import Forest
from interfere.models.head import body, unembed
from interfere.models.model import Model
from interfere.models.prefix_attention import Prefix
from interfere.models.shared_prefix import gather, lend

HEAD_ROWS = 256
"""Positions that go through the unembedding at a time: bounds the logits held."""

BRANCH_ROWS = 128
"""Branches run at a time: bounds the copies of keys and values."""

BRANCH_PADDING = 48
"""Padding tokens that cost about as much as one more forward."""


class Scorer:
    """One batch under way: its forest, and the keys and values of its prompts."""

    def __init__(
        self,
        model: Model,
        forest: Forest,
        prefix: Prefix,
        prompts: Sequence[Sequence[int]],
    ) -> None:
        self._model, self._forest, self._prompts = model, forest, prompts
        self._prefix = prefix
        self._cache = prefix.before(len(prompts))

    def canonical(self) -> Float[np.ndarray, " rows"]:
        """Run prompts and canonical answers; their log-probabilities."""
        forest, prompts = self._forest, self._prompts
        rows = [
            [*prompt, *trie.canonical[:-1]]
            for prompt, trie in zip(prompts, forest.tries, strict=True)
        ]
        past = torch.ones(len(rows), self._prefix.cached)
        hidden = self._run(rows, np.zeros(len(rows), dtype=int), past, self._cache)
        ends = np.array([len(prompt) for prompt in prompts])
        lengths = np.array([len(trie.canonical) for trie in forest.tries])
        owner, step = _ragged(lengths)
        nodes = np.concatenate([trie.spine for trie in forest.tries]) + forest.offset[owner]
        said = np.concatenate([trie.canonical for trie in forest.tries])
        column = ends[owner] - 1 + step
        total = np.zeros(len(rows))
        for part in _parts(len(nodes)):
            logits = self._logits(hidden, owner[part], column[part])
            forest.read(nodes[part], logits)
            token = torch.from_numpy(said[part]).to(logits.device)[:, None]
            score = logits.gather(1, token)[:, 0] - logits.logsumexp(1)
            np.add.at(total, owner[part], score.double().cpu().numpy())
        return total

    def branches(self, negligible: float) -> None:
        """Run the other forms that can still matter, from the prompts' keys and values."""
        forest = self._forest
        leaves = forest.frontier(negligible)
        owners = forest.owner[leaves]
        paths = []
        for leaf, i in zip(leaves, owners, strict=True):
            offset = forest.offset[i]
            path = np.array(forest.tries[i].path(int(leaf - offset))) + offset
            paths.append(path[forest.needs_logits[path]])
        order = np.argsort([len(path) for path in paths], kind="stable")
        ends = np.array([len(prompt) for prompt in self._prompts])
        past = np.arange(self._cache.get_seq_length())
        for group in _groups([len(paths[i]) for i in order]):
            chosen = order[group]
            owner, nodes = owners[chosen], np.concatenate([paths[i] for i in chosen])
            rows = [forest.token[paths[i]].tolist() for i in chosen]
            row, column = _ragged(np.array([len(tokens) for tokens in rows]))
            if self._slides(len(past) + max(len(tokens) for tokens in rows)):
                rows = [[*self._prompts[i], *r] for i, r in zip(owner, rows, strict=True)]
                column = column + ends[owner][row]
                starts, mask = (
                    np.zeros_like(owner),
                    torch.ones(len(rows), self._prefix.cached),
                )
                cache = self._prefix.before(len(rows))
            else:
                starts = ends[owner]
                mask = torch.from_numpy(
                    past[None] < (self._prefix.cached + starts)[:, None]
                )
                cache = gather(self._cache, torch.from_numpy(owner).to(self._model.device))
            hidden = self._run(rows, starts, mask, cache)
            nodes, first = np.unique(nodes, return_index=True)
            fresh = ~forest.known[nodes]
            nodes, first = nodes[fresh], first[fresh]
            for part in _parts(len(nodes)):
                logits = self._logits(hidden, row[first[part]], column[first[part]])
                forest.read(nodes[part], logits)

    def _slides(self, length: int) -> bool:
        """Whether an attention window ends within this length.

        Windows count cached positions, those that the mask hides too: a branch would see
        less of its prompt than it should.
        """
        window = getattr(self._model.network.config, "sliding_window", None)
        return window is not None and length >= window

    def _run(
        self,
        rows: Sequence[Sequence[int]],
        starts: Int[np.ndarray, " rows"],
        past: Tensor,
        cache: DynamicCache,
    ) -> Float[Tensor, "rows width d"]:
        """Last hidden states; row i's first token stands `starts[i]` after the prefix.

        `past` says, for every cached position, whether a row sees it.
        """
        device = self._model.device
        lengths = np.array([len(row) for row in rows])
        width = int(lengths.max())
        ids = np.zeros((len(rows), width), dtype=int)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        real = torch.from_numpy(np.arange(width)[None] < lengths[:, None])
        positions = self._prefix.length + starts[:, None] + np.arange(width)[None]
        inner = body(self._model.network)
        with self._prefix.lent():
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
        return unembed(self._model.network, hidden[rows, columns]).float()


def _ragged(lengths: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each entry of rows of these lengths, row after row."""
    row = np.repeat(np.arange(len(lengths)), lengths)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _groups(lengths: Sequence[int]) -> Iterator[slice]:
    """Neighbours to run together; `lengths` ascend."""
    begin = 0
    for i in range(1, len(lengths) + 1):
        if i == len(lengths):
            yield slice(begin, i)
        elif (
            i - begin == BRANCH_ROWS
            or (i - begin) * (lengths[i] - lengths[i - 1]) > BRANCH_PADDING
        ):
            yield slice(begin, i)
            begin = i


def _parts(n: int) -> Iterator[slice]:
    return (slice(begin, begin + HEAD_ROWS) for begin in range(0, n, HEAD_ROWS))
