"""Where the right answer stands among the answers that its relation commonly has."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from interfere.facts.fact import Fact, FactSet
from interfere.facts.questions import prompt, target
from interfere.models.batches import padded_on_the_left
from interfere.models.encoding import encode_continuations, encode_prompts
from interfere.models.head import body, unembed
from interfere.models.model import Model
from interfere.models.shared_prefix import gather, lend

TEXTS = 128
"""Answers run at a time: bounds the copies of keys and values, and the logits."""


def answer_ranks(
    model: Model,
    facts: FactSet,
    candidates: Mapping[str, Sequence[str]],
    *,
    batch: int = 64,
) -> np.ndarray:
    """Rank of each fact's canonical answer among its relation's candidates; 1 is the best.

    Answers compete by log-probability (temperature 1) of answer and terminator after the
    zero-shot prompt. A candidate that is another name of the right answer doesn't compete.
    Without candidates for the relation the rank is NaN.

    Returns:
        float64 [facts].
    """
    ranks = np.full(len(facts), np.nan)
    lengths = [
        len(ids) for ids in encode_prompts(model.tokenizer, [prompt(f) for f in facts])
    ]
    for relation, answers in candidates.items():
        rows = [
            i
            for i in np.argsort(lengths, kind="stable")
            if facts[int(i)].relation == relation
        ]
        for begin in range(0, len(rows), batch):
            chosen = [int(i) for i in rows[begin : begin + batch]]
            ranks[chosen] = _rank(model, [facts[i] for i in chosen], list(answers))
    return ranks


@torch.inference_mode()
def _rank(model: Model, facts: list[Fact], answers: list[str]) -> list[int]:
    asked = _Prompts(model, facts)
    spelt = {
        answer: asked.spell(answer)
        for answer in dict.fromkeys([*answers, *(fact.answer for fact in facts)])
    }
    own = asked.score([(row, spelt[fact.answer]) for row, fact in enumerate(facts)])
    # A longer text is no more probable than its first token, so few rivals need be run.
    rivals = [
        (row, spelt[answer])
        for row, fact in enumerate(facts)
        for answer in answers
        if answer not in fact.answers and asked.first[row, spelt[answer][0]] > own[row]
    ]
    ranks = [1] * len(facts)
    for (row, _), score in zip(rivals, asked.score(rivals), strict=True):
        ranks[row] += int(score > own[row])
    return ranks


class _Prompts:
    """A batch of prompts that was run: its keys and values, and what may come first."""

    def __init__(self, model: Model, facts: list[Fact]) -> None:
        self._model, self._prompts = model, [prompt(fact) for fact in facts]
        ids = encode_prompts(model.tokenizer, self._prompts)
        # Left padding puts every prompt's end, and so every answer, in the same columns.
        rows, mask = padded_on_the_left(ids)
        self._mask = mask.to(model.device)
        self._places = (self._mask.cumsum(1) - 1).clamp(min=0)
        self._inner, self._cache = body(model.network), DynamicCache()
        hidden = self._inner(
            input_ids=rows.to(model.device),
            attention_mask=self._mask,
            position_ids=self._places,
            use_cache=True,
            **lend(self._inner, self._cache),
        ).last_hidden_state
        logits = unembed(model.network, hidden[:, -1]).float()
        self.first: Float[np.ndarray, "prompts v"] = logits.log_softmax(-1).cpu().numpy()
        """Log-probability of each token right after each prompt."""

    def spell(self, answer: str) -> list[int]:
        """The tokens of an answer and its end."""
        first = self._prompts[:1]
        return encode_continuations(self._model.tokenizer, first, [target(answer)])[0]

    def score(self, pairs: Sequence[tuple[int, list[int]]]) -> Float[np.ndarray, " pairs"]:
        """Log-probability of each text after its prompt."""
        scores = np.array([self.first[row, tokens[0]] for row, tokens in pairs])
        longer = [i for i, (_, tokens) in enumerate(pairs) if len(tokens) > 1]
        longer.sort(key=lambda i: len(pairs[i][1]))
        for begin in range(0, len(longer), TEXTS):
            some = longer[begin : begin + TEXTS]
            scores[some] += self._rest([pairs[i] for i in some])
        return scores

    def _rest(self, pairs: Sequence[tuple[int, list[int]]]) -> Float[np.ndarray, " pairs"]:
        """What each text's tokens after its first add."""
        device = self._model.device
        rows = torch.tensor([row for row, _ in pairs], device=device)
        texts = [torch.tensor(tokens, device=device) for _, tokens in pairs]
        fed = pad_sequence([text[:-1] for text in texts], batch_first=True)
        said = pad_sequence([text[1:] for text in texts], batch_first=True)
        real = pad_sequence([torch.ones_like(text[1:]) for text in texts], batch_first=True)
        hidden = self._inner(
            input_ids=fed,
            attention_mask=torch.cat([self._mask[rows], real], 1),
            position_ids=self._places[rows, -1:] + torch.ones_like(fed).cumsum(1),
            use_cache=True,
            **lend(self._inner, gather(self._cache, rows)),
        ).last_hidden_state
        logs = unembed(self._model.network, hidden).float().log_softmax(-1)
        found = (logs.gather(2, said[..., None])[..., 0] * real).sum(1)
        return np.asarray(found.double().cpu().numpy())
