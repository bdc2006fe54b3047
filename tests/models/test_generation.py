import pytest
import torch
from tiny_models import places, tiny_model

from interfere.errors import InputError
from interfere.facts.geonames import geonames
from interfere.facts.questions import few_shot_prefix, prompt
from interfere.models.generation import generate, sample

FACTS = geonames(["P17"], limit=12)


def step_by_step(model, fact, tokens):
    ids = model.tokenizer(prompt(fact)).input_ids
    start = len(ids)
    for _ in range(tokens):
        with torch.no_grad():
            ids = [*ids, int(model.network(torch.tensor([ids])).logits[0, -1].argmax())]
    return model.tokenizer.decode(ids[start:]).split("\n")[0].strip()


def test_greedy_is_the_argmax_token_by_token(nano):
    assert generate(nano, FACTS) == [step_by_step(nano, fact, 16) for fact in FACTS]


def test_batches_change_nothing(nano):
    prefix = few_shot_prefix(FACTS[8:])
    assert generate(nano, FACTS, prefix=prefix) == generate(
        nano, FACTS, prefix=prefix, batch_tokens=1
    )


def test_a_response_without_end_is_cut():
    assert generate(tiny_model(), places()[:2], max_new_tokens=3) == [
        step_by_step(tiny_model(), fact, 3) for fact in places()[:2]
    ]


def test_samples_follow_their_seed_and_leave_torch_alone(nano):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = sample(nano, FACTS, samples=6, temperature=2.0, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert one == sample(nano, FACTS, samples=6, temperature=2.0, seed=1)
    assert one != sample(nano, FACTS, samples=6, temperature=2.0, seed=2)
    assert [len(said) for said in one] == [6] * len(FACTS)


def test_top_k_of_one_is_greedy(nano):
    drawn = sample(nano, FACTS, samples=2, top_k=1, seed=0)
    assert drawn == [[text, text] for text in generate(nano, FACTS)]


def test_settings_out_of_range_are_refused(nano):
    with pytest.raises(InputError, match="temperature above 0, got 16, 40 and 0"):
        sample(nano, FACTS, temperature=0, seed=0)
