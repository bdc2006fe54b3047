"""Confidence in an answer is the product of its tokens' probabilities, the end's too."""

import numpy as np
import pytest
import torch

from interfere.facts.geonames import geonames
from interfere.facts.matching import is_right
from interfere.facts.questions import few_shot_prefix, prompt
from interfere.models.answering import ask
from interfere.models.confidence import confidence
from interfere.models.generation import generate, respond
from interfere.models.trie import line_ends

FACTS = geonames(["P17"], limit=400)[::25]


def step_by_step(model, text, most=16):
    """Probability and first entropy of the greedy line, one forward a token."""
    ids, ends = model.tokenizer(text).input_ids, line_ends(model.tokenizer)
    chance, entropies = 1.0, []
    for _ in range(most):
        with torch.no_grad():
            spread = model.network(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        token = int(spread.argmax())
        chance *= float(spread[token])
        entropies.append(float(torch.special.entr(spread).sum()))
        ids = [*ids, token]
        if ends[token]:
            break
    return chance, entropies[0]


def test_is_the_greedy_walk_token_by_token(nano):
    found = confidence(nano, FACTS)
    for i, fact in enumerate(FACTS):
        chance, entropy = step_by_step(nano, prompt(fact))
        assert found.probability[i] == pytest.approx(chance, rel=1e-4)
        assert found.entropy[i] == pytest.approx(entropy, rel=1e-4, abs=1e-6)
    assert list(found.responses) == generate(nano, FACTS)
    right = [
        is_right(said, fact) for said, fact in zip(found.responses, FACTS, strict=True)
    ]
    assert found.right.tolist() == right
    assert 0 < found.right.mean() < 1


def test_is_the_answers_probability_where_the_canonical_answer_is_said(nano):
    found, asked = confidence(nano, FACTS), ask(nano, FACTS)
    said = [text == fact.answer for text, fact in zip(found.responses, FACTS, strict=True)]
    assert sum(said) > 3
    assert found.probability[said] == pytest.approx(np.exp(asked.logprob[said]), rel=1e-4)


def test_batches_and_prefixes(nano):
    prefix = few_shot_prefix(geonames(["P17"], limit=4))
    whole = confidence(nano, FACTS[:4], prefix=prefix)
    single = confidence(nano, FACTS[:4], prefix=prefix, batch_tokens=1)
    assert whole.responses == single.responses
    assert whole.probability == pytest.approx(single.probability, rel=1e-4)
    chance, _ = step_by_step(nano, prefix + prompt(FACTS[0]))
    assert whole.probability[0] == pytest.approx(chance, rel=1e-4)


def test_a_response_ends_with_its_line(nano):
    ends = line_ends(nano.tokenizer)
    for response in respond(nano, FACTS):
        assert [bool(ends[token]) for token in response.answer[:-1]].count(True) == 0
        assert ends[response.answer[-1]]


def test_a_response_that_is_cut_is_scored_as_far_as_it_goes(nano):
    found = confidence(nano, FACTS[:2], max_new_tokens=1)
    for i in range(2):
        chance, _ = step_by_step(nano, prompt(FACTS[i]), most=1)
        assert found.probability[i] == pytest.approx(chance, rel=1e-4)


def test_no_facts_give_nothing(nano):
    found = confidence(nano, FACTS[:0])
    assert found.responses == ()
    assert len(found.right) == len(found.probability) == len(found.entropy) == 0
