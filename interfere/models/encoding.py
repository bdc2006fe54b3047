"""Prompts and their continuations as tokens, and where the subject stands in them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError

AT_ONCE = 1024
"""Texts given to the tokenizer together: it holds kilobytes of each until they are let go."""


def start_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts before a text: its start token, or nothing."""
    first = tokenizer("x").input_ids[:1]
    return (
        first
        if tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]
        else []
    )


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]
) -> list[list[int]]:
    """Token ids of each prompt, the start token before them where the tokenizer has one."""
    if not prompts:
        return []
    start = start_tokens(tokenizer)
    return [start + ids for ids in _each(tokenizer, prompts, "input_ids")]


def encode_continuations(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], continuations: Sequence[str]
) -> list[list[int]]:
    """Token ids of each continuation as they stand after its prompt.

    Where the tokenizer would merge across the border, the continuation is tokenised alone.

    Raises:
        InputError: a continuation that tokenises to nothing.
    """
    if not prompts:
        return []
    heads = _each(tokenizer, prompts, "input_ids")
    texts = [p + c for p, c in zip(prompts, continuations, strict=True)]
    wholes = _each(tokenizer, texts, "input_ids")
    found = []
    for head, whole, continuation in zip(heads, wholes, continuations, strict=True):
        ids = whole[len(head) :]
        if whole[: len(head)] != head:
            ids = tokenizer(continuation, add_special_tokens=False).input_ids
        if not ids:
            raise InputError(f"{continuation!r} tokenises to nothing after its prompt")
        found.append(ids)
    return found


def subject_spans(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], subjects: Sequence[str]
) -> Int[np.ndarray, "prompts 2"]:
    """First and last token, in `encode_prompts`, that hold a character of the subject.

    The subject's last occurrence counts: a few-shot prefix may name it too.

    Raises:
        InputError: a prompt that does not hold its subject.
    """
    if not prompts:
        return np.empty((0, 2), np.int64)
    shift = len(start_tokens(tokenizer))
    offset_mapping = _each(
        tokenizer, prompts, "offset_mapping", return_offsets_mapping=True
    )
    found = []
    rows = zip(prompts, subjects, offset_mapping, strict=True)
    for text, subject, offsets in rows:
        # "A" is in "\nA:" too.
        begin = text.rfind(subject, 0, len(text.removesuffix("\nA:")))
        if begin < 0 or not subject:
            raise InputError(f"the prompt {text!r} does not hold its subject {subject!r}")
        end = begin + len(subject)
        inside = [
            i for i, (left, right) in enumerate(offsets) if left < end and right > begin
        ]
        if not inside:
            raise InputError(f"the subject {subject!r} tokenises to nothing in {text!r}")
        found.append((inside[0] + shift, inside[-1] + shift))
    return np.array(found, np.int64)


def _each(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], what: str, **options: Any
) -> Iterator[Any]:
    """What the tokenizer says of each text, without its special tokens."""
    for begin in range(0, len(texts), AT_ONCE):
        piece = list(texts[begin : begin + AT_ONCE])
        yield from tokenizer(piece, add_special_tokens=False, **options)[what]
