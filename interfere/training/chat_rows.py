"""Conversations as training rows, with the loss on the assistant's turns."""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError
from interfere.models.chat_encoding import encode_conversation
from interfere.training.rows import IGNORED, Row


def chat_rows(
    conversations: Iterable[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    column: str = "messages",
    longest: int | None = None,
) -> list[Row]:
    """A row a conversation: `input_ids`, and `labels` on what the assistant says.

    The token that ends a turn of the assistant is learnt too. Takes what supervised
    fine-tuning data looks like: a list of dictionaries or a Hugging Face dataset, with a
    column of turns, each with `role` and `content`.

    Args:
        conversations: the rows.
        tokenizer: with a chat template.
        column: that holds the turns.
        longest: the most tokens that a row may have; None: no limit.

    Raises:
        InputError: no rows, a row without the column, one that is too long, and as
            `encode_conversation`; each names its row.
    """
    found = []
    for number, given in enumerate(conversations):
        who = f"row {number}"
        if column not in given:
            raise InputError(f"{who} has no column {column!r}; it has {sorted(given)}")
        encoded = encode_conversation(tokenizer, given[column], who)
        size = len(encoded.tokens)
        if longest is not None and size > longest:
            raise InputError(f"{who} takes {size} tokens, there is room for {longest}")
        labels = [IGNORED] * size
        for first, end in encoded.said:
            labels[first:end] = encoded.tokens[first:end]
        found.append({"input_ids": encoded.tokens, "labels": labels})
    if not found:
        raise InputError("no conversations to train on")
    return found
