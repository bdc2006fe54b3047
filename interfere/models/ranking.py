"""Where the right answer stands among the answers that its relation commonly has."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import DynamicCache

from interfere.facts.fact import Fact, FactSet
from interfere.facts.questions import prompt, target
from interfere.models.encoding import encode_continuations, encode_prompts
from interfere.models.head import body, unembed
from interfere.models.model import Model
from interfere.models.shared_prefix import expand, lend


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
    tokenizer, device = model.tokenizer, model.device
    union = list(dict.fromkeys([*answers, *(fact.answer for fact in facts)]))
    prompts = [prompt(fact) for fact in facts]
    ids = encode_prompts(tokenizer, prompts)
    width = max(map(len, ids))
    # Left padding puts every prompt's end, and so every answer, in the same columns.
    rows = torch.tensor([[0] * (width - len(row)) + row for row in ids], device=device)
    mask = torch.tensor(
        [[0] * (width - len(row)) + [1] * len(row) for row in ids], device=device
    )
    places = (mask.cumsum(1) - 1).clamp(min=0)
    inner, prompts_cache = body(model.network), DynamicCache()
    hidden = inner(
        input_ids=rows,
        attention_mask=mask,
        position_ids=places,
        use_cache=True,
        **lend(inner, prompts_cache),
    ).last_hidden_state
    starts = unembed(model.network, hidden[:, -1]).float().log_softmax(-1)
    scores = torch.empty(len(facts), len(union))
    for column, answer in enumerate(union):
        tokens = torch.tensor(
            encode_continuations(tokenizer, prompts[:1], [target(answer)])[0], device=device
        )
        score = starts[:, tokens[0]]
        if len(tokens) > 1:
            fed = tokens[:-1].expand(len(facts), -1)
            more = torch.ones_like(fed)
            hidden = inner(
                input_ids=fed,
                attention_mask=torch.cat([mask, more], 1),
                position_ids=places[:, -1:] + more.cumsum(1),
                use_cache=True,
                **lend(inner, expand(prompts_cache, len(facts))),
            ).last_hidden_state
            logs = unembed(model.network, hidden).float().log_softmax(-1)
            score = score + logs.gather(
                2, tokens[1:].expand(len(facts), -1)[..., None]
            ).sum((1, 2))
        scores[:, column] = score.cpu()
    place = {answer: column for column, answer in enumerate(union)}
    found = []
    for row, fact in enumerate(facts):
        rivals = [place[a] for a in answers if a not in fact.answers]
        own = scores[row, place[fact.answer]]
        found.append(1 + int((scores[row, rivals] > own).sum()))
    return found
