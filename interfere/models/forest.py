"""The tries of a batch side by side: what the model's logits say of each node."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interfere.models.trie import Trie


class Forest:
    """Probabilities of a batch's answer paths, filled in as logits arrive.

    Nodes of all tries are numbered through; trie i begins at `offset[i]`.
    """

    def __init__(
        self,
        tries: Sequence[Trie],
        ends: Bool[np.ndarray, " vocabulary"],
        *,
        temperature: float,
        top_k: int,
    ) -> None:
        self._temperature, self._top_k = temperature, top_k
        sizes = np.array([len(trie.parent) for trie in tries])
        self.offset = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.tries = tries
        self.owner = np.repeat(np.arange(len(tries)), sizes)
        shift = self.offset[self.owner]
        self.parent = np.concatenate([trie.parent for trie in tries]) + shift
        self.first_child = np.concatenate([trie.first_child for trie in tries]) + shift
        self.token = np.concatenate([trie.token for trie in tries])
        self.depth = np.concatenate([trie.depth for trie in tries])
        self.children = np.concatenate([trie.children for trie in tries])
        self.ends = np.concatenate([trie.ends for trie in tries])
        self.complete = np.concatenate([trie.complete for trie in tries])
        self.needs_logits = self.ends | (self.children > 0)
        self._terminators = torch.from_numpy(ends)
        n = len(self.parent)
        self.known = np.zeros(n, dtype=bool)
        self.into, self.stop = np.zeros(n), np.zeros(n)
        self.greedy_into, self.greedy_stop = (
            np.zeros(n, dtype=bool),
            np.zeros(n, dtype=bool),
        )
        roots = self.depth == 0
        self.into[roots] = self.greedy_into[roots] = 1

    def read(self, nodes: Int[np.ndarray, " n"], logits: Float[Tensor, "n v"]) -> None:
        """Take the next-token logits at these nodes."""
        kept, tokens = logits.topk(min(self._top_k, logits.shape[1]))
        kept = kept.double() / self._temperature
        norm = kept.logsumexp(1, keepdim=True)
        stops = self._is_terminator(tokens)
        self.stop[nodes] = ((kept - norm).exp() * stops).sum(1).cpu().numpy()
        self.greedy_stop[nodes] = stops[:, 0].cpu().numpy()
        self.known[nodes] = True

        counts = self.children[nodes]
        row = np.repeat(np.arange(len(nodes)), counts)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        child = self.first_child[nodes][row] + nth
        rows = torch.from_numpy(row).to(logits.device)
        led = torch.from_numpy(self.token[child]).to(logits.device)
        score = logits[rows, led].double() / self._temperature
        chance = (score - norm[rows, 0]).exp() * (score >= kept[rows, -1])
        self.into[child] = chance.cpu().numpy()
        self.greedy_into[child] = (led == tokens[rows, 0]).cpu().numpy()

    def frontier(self, negligible: float) -> Int[np.ndarray, " m"]:
        """Leaves below a node that is reached but whose logits are not known.

        Reached: by the argmax walk, or by sampling with more than this probability, which
        grows tenfold with the probability that the forms known so far have together.
        """
        sampled, greedy = self._reach()
        floor = negligible * np.maximum(1, 10 * self.results()[1])[self.owner]
        wanted = self.needs_logits & ~self.known & (greedy | (sampled > floor))
        for depth in range(1, int(self.depth.max()) + 1):
            at = np.flatnonzero(self.depth == depth)
            wanted[at] |= wanted[self.parent[at]]
        return np.flatnonzero(wanted & (self.children == 0))

    def results(self) -> tuple[Bool[np.ndarray, " tries"], Float[np.ndarray, " tries"]]:
        """Greedy right, and the probability that sampling is right, for each trie."""
        sampled, greedy = self._reach()
        chance = sampled * (self.ends * self.stop + self.complete)
        right = greedy & ((self.ends & self.greedy_stop) | self.complete)
        begins = self.offset
        return np.logical_or.reduceat(right, begins), np.add.reduceat(chance, begins)

    def _reach(self) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        sampled, greedy = self.into.copy(), self.greedy_into.copy()
        for depth in range(1, int(self.depth.max()) + 1):
            at = np.flatnonzero(self.depth == depth)
            sampled[at] *= sampled[self.parent[at]]
            greedy[at] &= greedy[self.parent[at]]
        return sampled, greedy

    def _is_terminator(self, tokens: Tensor) -> Tensor:
        table = self._terminators.to(tokens.device)
        inside = tokens < len(table)  # a padded vocabulary has more logits than tokens
        return table[tokens.clamp(max=len(table) - 1)] & inside
