"""Perplexity is the network's own loss, text by text, however texts are batched."""

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, tiny_model

from interfere.errors import InputError
from interfere.models.perplexity import perplexity
from interfere.models.token_scores import token_scores

TEXTS = [
    "The river rises in the hills and flows south.",
    "Bread is made of flour, water and salt; it is then left to rise for an hour or two.",
    "Rain.",
]


def loss(model, ids):
    with torch.no_grad():
        ids = torch.tensor([ids])
        return float(model.network(input_ids=ids, labels=ids).loss)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_is_the_networks_own_loss(architecture):
    model = tiny_model(architecture)
    found = perplexity(model, TEXTS)
    for text, nats, tokens in zip(TEXTS, found.nats, found.tokens, strict=True):
        ids = model.tokenizer(text).input_ids
        assert tokens == len(ids) - 1
        assert nats / tokens == pytest.approx(loss(model, ids), rel=1e-4)
    assert found.value == pytest.approx(np.exp(found.nats.sum() / found.tokens.sum()))


def test_batches_change_nothing(nano):
    one, all_ = perplexity(nano, TEXTS, batch_tokens=1), perplexity(nano, TEXTS)
    assert one.nats == pytest.approx(all_.nats, rel=1e-5)
    assert nano.network.training is False


def test_a_uniform_model_has_the_vocabulary_as_perplexity():
    model = tiny_model("llama")
    torch.nn.init.zeros_(model.network.get_output_embeddings().weight)
    found = perplexity(model, TEXTS)
    assert found.value == pytest.approx(len(model.tokenizer), rel=1e-5)
    (score,) = token_scores(model, [[1, 2, 3]], [1])
    assert score.entropy == pytest.approx([np.log(len(model.tokenizer))] * 2)


def test_a_long_text_is_cut_into_windows():
    model = tiny_model("llama")
    text = " ".join(TEXTS)
    ids = model.tokenizer(text).input_ids
    found = perplexity(model, [text], window=10)
    pieces = [ids[i : i + 10] for i in range(0, len(ids), 10)]
    expected = sum(loss(model, piece) * (len(piece) - 1) for piece in pieces if piece[1:])
    assert found.nats[0] == pytest.approx(expected, rel=1e-4)
    assert found.tokens[0] == sum(len(piece) - 1 for piece in pieces)


def test_scores_begin_where_they_are_asked_to():
    model = tiny_model("llama")
    rows = [[5, 6, 7, 8], [9, 10]]
    whole, late = token_scores(model, rows, [1, 1]), token_scores(model, rows, [3, 1])
    assert [len(s.logprob) for s in late] == [1, 1]
    assert late[0].logprob[0] == pytest.approx(whole[0].logprob[2], rel=1e-5)
    with torch.no_grad():
        spread = model.network(torch.tensor([rows[0]])).logits[0, 2].double().softmax(-1)
    assert late[0].logprob[0] == pytest.approx(float(spread[8].log()), rel=1e-5)
    entropy = -(spread * spread.log()).sum()
    assert late[0].entropy[0] == pytest.approx(float(entropy), rel=1e-5)


def test_bad_input_is_refused():
    model = tiny_model("llama")
    with pytest.raises(InputError, match="at least one text"):
        perplexity(model, [])
    with pytest.raises(InputError, match="text 1, 'a', has fewer than two tokens"):
        perplexity(model, [TEXTS[0], "a"])
    with pytest.raises(InputError, match="window must be from 2 to 128 tokens, got 129"):
        perplexity(model, TEXTS, window=129)
