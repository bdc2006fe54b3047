"""Conversations as tokens, and which of them the assistant says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError


@dataclass(frozen=True)
class Encoded:
    """A conversation through the tokenizer's chat template."""

    tokens: list[int]
    said: list[tuple[int, int]]
    """Of each turn of the assistant: its first token and the one after its end of turn."""


def encode_conversation(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]], who: str
) -> Encoded:
    """Tokens of the whole conversation, and the spans that the assistant has to produce.

    A span begins where the template has opened the assistant's turn and ends with the
    token that closes it, so a newline that a template puts after it is not the assistant's.

    Args:
        tokenizer: with a chat template.
        messages: turns with `role` and `content`.
        who: names the conversation in errors.

    Raises:
        InputError: no chat template, none that takes these turns, a turn that lacks role or
            content, no turn of the assistant, or a template that writes earlier turns
            otherwise once later ones follow.
    """
    turns = [dict(message) for message in messages]
    for turn in turns:
        if not isinstance(turn.get("role"), str) or "content" not in turn:
            raise InputError(f"{who}: each message needs role and content, got {turn}")
    places = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
    if not places:
        raise InputError(
            f"{who}: no message of the assistant, so there is nothing to learn"
        )
    whole = _apply(tokenizer, turns, who)
    special = set(tokenizer.all_special_ids)
    said = []
    for place in places:
        asked = _apply(tokenizer, turns[:place], who, opened=True)
        answered = _apply(tokenizer, turns[: place + 1], who)
        if whole[: len(asked)] != asked or whole[: len(answered)] != answered:
            raise InputError(
                f"{who}: the chat template writes message {place} otherwise in the whole "
                "conversation than at its end, so the assistant's tokens can't be told "
                "from the others; split the conversation, or change the template"
            )
        end = len(answered)
        while end > len(asked) + 1 and answered[end - 1] not in special:
            end -= 1
        if answered[end - 1] not in special:
            end = len(answered)
        said.append((len(asked), end))
    return Encoded(whole, said)


def _apply(
    tokenizer: PreTrainedTokenizerBase,
    turns: list[dict[str, Any]],
    who: str,
    *,
    opened: bool = False,
) -> list[int]:
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            f"{who}: the tokenizer has no chat template; set tokenizer.chat_template, or "
            "give rows of input_ids and labels"
        )
    try:
        found = tokenizer.apply_chat_template(
            turns, tokenize=True, add_generation_prompt=opened, return_dict=False
        )
    except Exception as reason:
        raise InputError(
            f"{who}: the chat template refuses these turns: {reason}"
        ) from None
    assert isinstance(found, list)
    return [token for token in found if isinstance(token, int)]
