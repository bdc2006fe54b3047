import numpy as np
import torch
from tiny_models import places, tiny_model

from interfere.facts.questions import prompt, target
from interfere.models.encoding import encode_continuations, encode_prompts
from interfere.models.ranking import answer_ranks

CANDIDATES = {"P17": ("China", "Japan", "India", "Turkey", "Brazil")}


def plain_score(model, fact, answer):
    """Log-probability of answer and end, one unbatched forward pass."""
    head = encode_prompts(model.tokenizer, [prompt(fact)])[0]
    tail = encode_continuations(model.tokenizer, [prompt(fact)], [target(answer)])[0]
    with torch.no_grad():
        logits = model.network(torch.tensor([head + tail])).logits[0].log_softmax(-1)
    return sum(logits[len(head) + i - 1, token].item() for i, token in enumerate(tail))


def test_ranks_are_those_of_plain_scores():
    model, facts = tiny_model(), places()[:12]
    found = answer_ranks(model, facts, CANDIDATES, batch=5)
    for fact, rank in zip(facts, found, strict=True):
        own = plain_score(model, fact, fact.answer)
        rivals = [a for a in CANDIDATES["P17"] if a not in fact.answers]
        assert rank == 1 + sum(plain_score(model, fact, a) > own for a in rivals)


def test_without_candidates_there_is_no_rank():
    assert np.isnan(answer_ranks(tiny_model(), places()[:3], {})).all()
