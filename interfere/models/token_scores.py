"""How probable a model finds given tokens, and how sure it is at each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from interfere.models.batches import batches_by_length
from interfere.models.evaluating import evaluating
from interfere.models.head import body, unembed
from interfere.models.model import Model

HEAD_ROWS = 256
"""Positions that go through the unembedding at a time: bounds the logits held."""


@dataclass(frozen=True)
class TokenScores:
    """One row's scored tokens, in order."""

    logprob: Float64[np.ndarray, " tokens"]
    """Nats, at temperature 1, given all that stands before."""
    entropy: Float64[np.ndarray, " tokens"]
    """Nats, of the distribution that the token was drawn from."""


def token_scores(
    model: Model,
    rows: Sequence[Sequence[int]],
    starts: Sequence[int],
    *,
    batch_tokens: int = 4096,
) -> list[TokenScores]:
    """Scores of each row's tokens from index `starts[i]`, at least 1, to its end.

    Rows of like length run together, padded on the right; padding moves the last bits.

    Args:
        model: left as it was, in training mode or not.
        rows: token ids, none empty.
        starts: by row, the first token that is scored.
        batch_tokens: padded tokens in a batch.
    """
    found: list[TokenScores | None] = [None] * len(rows)
    with evaluating(model.network), torch.inference_mode():
        for batch in batches_by_length([len(row) for row in rows], batch_tokens):
            scored = _score(model, [rows[i] for i in batch], [starts[i] for i in batch])
            for i, score in zip(batch, scored, strict=True):
                found[i] = score
    return [score for score in found if score is not None]


def _score(
    model: Model, rows: Sequence[Sequence[int]], starts: Sequence[int]
) -> Iterator[TokenScores]:
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    real = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        real[i, : len(row)] = 1
    inner = body(model.network)
    output = inner(
        input_ids=ids.to(model.device),
        attention_mask=real.to(model.device),
        use_cache=False,
    )
    before = real.bool()
    before[:, 0] = False  # nothing stands before the first token
    for i, start in enumerate(starts):
        before[i, :start] = False
    place, column = before.nonzero(as_tuple=True)
    said = ids[place, column]
    logprob, entropy = np.empty(len(said)), np.empty(len(said))
    for begin in range(0, len(said), HEAD_ROWS):
        part = slice(begin, begin + HEAD_ROWS)
        hidden = output.last_hidden_state[place[part], column[part] - 1]
        spread = unembed(model.network, hidden).float().log_softmax(-1)
        token = said[part, None].to(spread.device)
        logprob[part] = spread.gather(1, token)[:, 0].double().cpu().numpy()
        entropy[part] = _entropy(spread).double().cpu().numpy()
    counts = np.bincount(place.numpy(), minlength=len(rows))
    ends = np.cumsum(counts)[:-1]
    for scores in zip(np.split(logprob, ends), np.split(entropy, ends), strict=True):
        yield TokenScores(*scores)


def _entropy(logprob: Tensor) -> Tensor:
    """Forbidden tokens (-inf) add nothing."""
    return torch.special.entr(logprob.exp()).sum(-1)
