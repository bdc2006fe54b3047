"""Accepted forms of an answer as a token trie, and the tokens that end an answer."""

import weakref
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError
from interfere.facts.questions import target
from interfere.models.encoding import encode_continuations

_ENDS: weakref.WeakKeyDictionary[
    PreTrainedTokenizerBase, Bool[np.ndarray, "2 vocabulary"]
] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Trie:
    """Token paths of accepted forms, breadth first: a node's children are neighbours."""

    parent: Int[np.ndarray, " nodes"]
    """Node 0 is the root (the prompt's last token), its own parent."""
    token: Int[np.ndarray, " nodes"]
    """What leads from the parent to the node; -1 at the root."""
    depth: Int[np.ndarray, " nodes"]
    first_child: Int[np.ndarray, " nodes"]
    children: Int[np.ndarray, " nodes"]
    """How many; they are first_child, first_child + 1, …"""
    ends: Bool[np.ndarray, " nodes"]
    """A form ends here if a terminator follows."""
    complete: Bool[np.ndarray, " nodes"]
    """A form ends here: the node's own token holds the line's end ('.\\n')."""
    canonical: tuple[int, ...]
    """Tokens of the canonical answer and its end, as training sees them."""
    spine: tuple[int, ...]
    """The nodes after which `canonical`'s tokens come; begins at the root."""

    def path(self, node: int) -> list[int]:
        """The nodes from below the root to this one."""
        nodes = []
        while node:
            nodes.append(node)
            node = int(self.parent[node])
        return nodes[::-1]


def terminators(tokenizer: PreTrainedTokenizerBase) -> Bool[np.ndarray, " vocabulary"]:
    """True for tokens whose text begins with a newline, and for end-of-sequence."""
    return np.asarray(_ends(tokenizer)[0])


def line_ends(tokenizer: PreTrainedTokenizerBase) -> Bool[np.ndarray, " vocabulary"]:
    """True for tokens whose text holds a newline, and for end-of-sequence."""
    return np.asarray(_ends(tokenizer)[1])


def _ends(tokenizer: PreTrainedTokenizerBase) -> Bool[np.ndarray, "2 vocabulary"]:
    if tokenizer not in _ENDS:
        texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        found = np.array([[t.startswith("\n") for t in texts], ["\n" in t for t in texts]])
        if tokenizer.eos_token_id is not None:
            found[:, tokenizer.eos_token_id] = True
        _ENDS[tokenizer] = found
    return _ENDS[tokenizer]


def build_tries(
    tokenizer: PreTrainedTokenizerBase, tail: str, answers: Sequence[tuple[str, ...]]
) -> list[Trie]:
    """A trie for each tuple of forms, the canonical one first.

    Args:
        tokenizer: the model's.
        tail: how the prompts end; forms are tokenised as they stand after it.
        answers: accepted forms, each written without the space before it.

    Raises:
        InputError: a canonical form that tokenises to nothing.
    """
    forms = [form for group in answers for form in group]
    ended = encode_continuations(tokenizer, [tail] * len(forms), [target(f) for f in forms])
    open_ = tokenizer([f" {form}" for form in forms], add_special_tokens=False).input_ids
    ends, tries, begin = terminators(tokenizer), [], 0
    for group in answers:
        rows = slice(begin, begin + len(group))
        begin += len(group)
        if not open_[rows][0] or not str(tokenizer.decode(open_[rows][0])).strip():
            raise InputError(f"the answer {group[0]!r} tokenises to nothing")
        tries.append(_build(ended[rows], open_[rows], ends))
    return tries


def _build(
    ended: list[list[int]], open_: list[list[int]], ends: Bool[np.ndarray, " vocabulary"]
) -> Trie:
    followed: set[tuple[int, ...]] = set()  # by a terminator
    closed: set[tuple[int, ...]] = set()  # by their own last token
    for whole, bare in zip(ended, open_, strict=True):
        if ends[whole[-1]]:
            followed.add(tuple(whole[:-1]))
        else:  # the tokenizer merges the answer's last character with the newline
            closed.add(tuple(whole))
            followed.add(tuple(bare))
    followed.discard(())
    return trie_of(followed, closed, tuple(ended[0]))


def trie_of(
    followed: Set[tuple[int, ...]],
    closed: Set[tuple[int, ...]],
    canonical: tuple[int, ...],
) -> Trie:
    """The trie of token paths that a terminator may follow, or that hold their own end.

    Args:
        followed: paths that are right if a terminator comes next.
        closed: paths that are right as they are.
        canonical: the canonical answer and its end; all but its last token is a path.
    """
    paths = {path[:n] for path in followed | closed for n in range(len(path) + 1)}
    order = sorted(paths, key=lambda path: (len(path), path))
    number = {path: node for node, path in enumerate(order)}
    parent = np.array([number[path[:-1]] for path in order])
    children = np.bincount(parent[1:], minlength=len(order))
    return Trie(
        parent=parent,
        token=np.array([path[-1] if path else -1 for path in order]),
        depth=np.array([len(path) for path in order]),
        first_child=1 + np.concatenate([[0], np.cumsum(children)[:-1]]),
        children=children,
        ends=np.array([path in followed for path in order]),
        complete=np.array([path in closed for path in order]),
        canonical=canonical,
        spine=tuple(number[canonical[:n]] for n in range(len(canonical))),
    )
