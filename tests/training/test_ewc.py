"""The Fisher against autograd, fact by fact; the penalty by hand."""

import pytest
import torch

from interfere.errors import InputError
from interfere.training.ewc import EWC, diagonal_fisher
from interfere.training.rows import FactRows
from interfere.training.train import train


def test_fisher_is_autograds(model, split):
    facts = split.others
    rows = FactRows(facts, model.tokenizer)
    expected = {n: torch.zeros_like(p) for n, p in model.network.named_parameters()}
    for i in range(len(rows)):
        network = model.copy().network
        ids, labels = (torch.tensor([rows[i][k]]) for k in ("input_ids", "labels"))
        logits = network(input_ids=ids).logits.log_softmax(-1)[0, :-1]
        said = labels[0, 1:] != -100
        logits[said, ids[0, 1:][said]].sum().backward()
        for name, parameter in network.named_parameters():
            if parameter.grad is not None:
                expected[name] += parameter.grad.square() / len(rows)
    found = diagonal_fisher(model, facts)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-3, atol=1e-7), name


def test_penalty_by_hand(model, split, begin):
    trained = model.copy()
    penalty = EWC(strength=3.0).penalty(begin(trained))
    fisher = diagonal_fisher(model, split.others)
    mean = sum(f.sum() for f in fisher.values()) / sum(f.numel() for f in fisher.values())
    with torch.no_grad():
        for parameter in trained.network.parameters():
            parameter.add_(0.1)
    expected = 1.5 * 0.01 * sum(f.sum() for f in fisher.values()) / mean
    assert penalty(trained.network).item() == pytest.approx(expected.item(), rel=1e-3)


def test_weights_that_old_facts_need_move_less(model, split):
    plain, held = (
        train(model, split, mitigation=m, epochs=5, batch_size=8, learning_rate=1e-3)
        for m in (None, EWC(strength=100.0))
    )
    fisher = diagonal_fisher(model, split.others)

    def cost(tuned):
        named = tuned.network.named_parameters()
        start = model.network.get_parameter
        return sum((fisher[n] * (p - start(n)).square()).sum().item() for n, p in named)

    assert cost(held) < 0.5 * cost(plain)


def test_without_known_facts_or_a_fisher_it_is_refused(model, split, begin):
    with pytest.raises(InputError, match="EWC needs facts that the model knows"):
        EWC().penalty(begin(model, old=None))
    frozen = model.copy()
    frozen.network.requires_grad_(False)
    frozen.network.model.embed_tokens.weight.requires_grad_(True)
    with torch.no_grad():
        frozen.network.lm_head.weight.zero_()
    with pytest.raises(InputError, match="Fisher is 0 everywhere"):
        EWC().penalty(begin(frozen))


@pytest.mark.parametrize("settings", [{"strength": -1.0}, {"fisher_facts": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match="must be"):
        EWC(**settings)
