"""Perplexity of texts: what a model thinks of prose that no fact was taught from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from interfere.errors import InputError
from interfere.models.encoding import encode_prompts
from interfere.models.model import Model
from interfere.models.token_scores import token_scores


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts texts; entry i is text i."""

    nats: Float64[np.ndarray, " texts"]
    """Summed over the text's scored tokens: minus the log-probability."""
    tokens: Int[np.ndarray, " texts"]
    """How many were scored: all but the first of each window."""

    @property
    def value(self) -> float:
        """exp(nats a token), over all texts; at least 1. In units of this tokenizer's tokens:
        compare models of one tokenizer only."""
        return float(np.exp(self.nats.sum() / self.tokens.sum()))


def perplexity(
    model: Model,
    texts: Sequence[str],
    *,
    window: int | None = None,
    batch_tokens: int = 4096,
) -> Perplexity:
    """Score each text by itself, after the tokenizer's start token where it has one.

    The mean of one text that fits the window is the loss that the network itself gives
    with `labels=input_ids`. Longer texts are cut into windows that see nothing of each
    other, which raises their perplexity a little.

    Args:
        model: left as it was.
        texts: prose, such as paragraphs of an encyclopedia.
        window: tokens in a window; None: as many as the model was built for, at most 1,024.
        batch_tokens: padded tokens in a batch.

    Raises:
        InputError: no texts, one of fewer than two tokens, or a window below 2.
    """
    built_for = getattr(model.network.config, "max_position_embeddings", None) or 1024
    size = min(built_for, 1024) if window is None else window
    if not 2 <= size <= built_for:
        raise InputError(f"window must be from 2 to {built_for} tokens, got {size}")
    if not texts:
        raise InputError("perplexity needs at least one text")
    rows, owner = [], []
    for i, ids in enumerate(encode_prompts(model.tokenizer, texts)):
        if len(ids) < 2:
            raise InputError(
                f"text {i}, {texts[i]!r}, has fewer than two tokens to predict"
            )
        pieces = [ids[begin : begin + size] for begin in range(0, len(ids), size)]
        rows += [piece for piece in pieces if len(piece) > 1]
        owner += [i for piece in pieces if len(piece) > 1]
    scores = token_scores(model, rows, [1] * len(rows), batch_tokens=batch_tokens)
    nats = np.bincount(owner, [-s.logprob.sum() for s in scores], minlength=len(texts))
    tokens = np.bincount(owner, [len(s.logprob) for s in scores], minlength=len(texts))
    return Perplexity(nats, tokens.astype(int))
