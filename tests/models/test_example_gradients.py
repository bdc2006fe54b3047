"""Each example's gradients, sketched or multiplied, against autograd's one by one."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tiny_models import CONFIGS, places, tiny_model
from torch import nn

from interfere.errors import InputError
from interfere.models import gradient_check
from interfere.models.exact_products import exact_products
from interfere.models.example_gradients import answer_losses, example_gradients
from interfere.models.gradient_check import check_seen
from interfere.models.parameter_groups import components
from interfere.models.sketched_gradients import GradientSketcher
from interfere.training.rows import IGNORED, FactRows, collate

FACTS = 6
ENOUGH = 10**8
"""Numbers for a sketch that loses nothing."""


@functools.cache
def batch(count: int = FACTS):
    rows = FactRows(places()[: 5 * count : 5], tiny_model().tokenizer)
    found = collate([rows[i] for i in range(count)])
    return found["input_ids"], found["labels"] != IGNORED


def by_autograd(network, scale=None):
    """The same numbers from as many backward passes as rows, none of them padded."""
    ids, answer = batch()
    group, names = components(network), dict(network.named_parameters())
    gradients = {name: [] for name in names}
    for tokens, labelled in zip(ids, answer, strict=True):
        end = int(labelled.nonzero().max()) + 1
        logits = network(input_ids=tokens[None, :end], use_cache=False).logits[0, :-1]
        chosen = labelled[1:end]
        loss = F.cross_entropy(logits[chosen], tokens[1:end][chosen], reduction="sum")
        found = torch.autograd.grad(loss, list(names.values()), allow_unused=True)
        for (name, p), gradient in zip(names.items(), found, strict=True):
            gradients[name].append(torch.zeros_like(p) if gradient is None else gradient)
    products = {}
    for name, rows in gradients.items():
        whole = torch.stack(rows) * (1.0 if scale is None else scale[name])
        flat = whole.double().flatten(1)
        products[group[name]] = products.get(group[name], 0) + flat @ flat.T
    return products


def random_scale(network):
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.rand(p.shape, generator=generator) + 0.1
        for name, p in network.named_parameters()
    }


def assert_same(found, expected, relative=1e-4):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(
            found[name].double(), values, rtol=0, atol=relative * values.abs().max().item()
        )


@pytest.mark.parametrize("architecture", CONFIGS)
def test_every_parameter_of_every_architecture(architecture):
    network = tiny_model(architecture).network
    scale = random_scale(network)
    sketched = GradientSketcher(network, *batch(), scale=scale, numbers=ENOUGH)(*batch())
    for kind, own in ((sketched.plain, None), (sketched.scaled, scale)):
        expected = by_autograd(network, own)
        assert_same({name: x @ x.T for name, x in kind.items()}, expected)
        assert_same(exact_products(network, *batch(), scale=own), expected)


def test_tied_embeddings_have_one_gradient_and_biases_theirs():
    network = tiny_model("qwen2", tie_word_embeddings=True).network
    sketched = GradientSketcher(network, *batch(), numbers=ENOUGH)(*batch())
    found = {name: x @ x.T for name, x in sketched.plain.items()}
    assert "head" not in found
    assert_same(found, by_autograd(network))
    assert_same(exact_products(network, *batch()), by_autograd(network))


def test_columns_at_a_time_change_nothing(monkeypatch):
    network = tiny_model("gpt2").network
    whole = exact_products(network, *batch())
    monkeypatch.setattr("interfere.models.exact_products.AT_ONCE", 5000)
    assert_same(exact_products(network, *batch()), whole, 2e-5)


def test_losses_are_those_of_the_answer_tokens():
    network = tiny_model("gemma2").network
    ids, answer = batch()
    with torch.no_grad():
        found = answer_losses(network, ids, answer)
        logits = network(input_ids=ids).logits[:, :-1]
        each = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    expected = (each * answer[:, 1:]).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_sketch_is_right_on_average():
    """Over seeds, the mean product is the exact one within four standard errors."""
    network = tiny_model("llama", num_hidden_layers=1).network
    scale = random_scale(network)
    draws = {"plain": [], "scaled": []}
    for seed in range(60):
        settings = {"scale": scale, "numbers": 2000, "seed": seed}
        sketched = GradientSketcher(network, *batch(), **settings)(*batch())
        for kind, values in draws.items():
            x = torch.cat(list(getattr(sketched, kind).values()), 1).double()
            values.append((x @ x.T).numpy())
    for kind, own in (("plain", None), ("scaled", scale)):
        expected = sum(x.numpy() for x in by_autograd(network, own).values())
        error = np.std(draws[kind], axis=0, ddof=1) / np.sqrt(60)
        off = np.abs(np.mean(draws[kind], axis=0) - expected) / error
        assert off.max() < 4
        assert (
            error / np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
        ).max() > 1e-4


def test_a_fact_s_sketch_hangs_on_no_other_fact():
    network = tiny_model("llama").network
    ids, answer = batch()
    sketcher = GradientSketcher(network, ids, answer, numbers=3000)
    whole, alone = sketcher(ids, answer), sketcher(ids[2:3], answer[2:3])
    for name, values in whole.plain.items():
        torch.testing.assert_close(values[2:3], alone.plain[name], rtol=1e-3, atol=1e-5)


def test_leaves_the_network_as_it_was():
    network = tiny_model("llama").network.train()
    frozen = network.model.layers[0].mlp.up_proj.weight.requires_grad_(False)
    before = {name: p.clone() for name, p in network.named_parameters()}
    GradientSketcher(network, *batch(), numbers=2000)(*batch())
    assert network.training
    assert [n for n, p in network.named_parameters() if not p.requires_grad] == [
        "model.layers.0.mlp.up_proj.weight"
    ]
    assert frozen.requires_grad is False
    for name, p in network.named_parameters():
        assert p.grad is None
        assert p.equal(before[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_hooks_go_when_the_pass_fails():
    network = tiny_model("llama").network

    def refuse(name, factors):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), example_gradients(network, refuse):
        answer_losses(network, *batch()).sum().backward()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(p.requires_grad for p in network.parameters())


class Doubled(nn.Linear):
    """Uses its weight in a way of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_gradient_that_is_not_what_it_seems_is_refused():
    network = tiny_model("llama").network
    network.model.layers[1].mlp.up_proj.__class__ = Doubled
    ids, answer = batch()
    message = "gradient of model.layers.1.mlp.up_proj.weight in LlamaForCausalLM isn't"
    with pytest.raises(InputError, match=message):
        check_seen(network, ids[:1], answer[:1])
    assert network not in gradient_check._CHECKED


def test_half_precision_is_refused():
    network = tiny_model("llama").network.bfloat16()
    with pytest.raises(InputError, match=r"torch\.bfloat16 weights, too coarse"):
        GradientSketcher(network, *batch())


@pytest.mark.parametrize("architecture", CONFIGS)
def test_components_take_in_every_parameter(architecture):
    network = tiny_model(architecture).network
    found = components(network)
    assert list(found) == [name for name, _ in network.named_parameters()]
    assert "other" not in found.values()
    assert {"attention", "ffn", "embeddings", "norms"} <= set(found.values())
    assert all(("norm" in n or "ln_" in n) == (g == "norms") for n, g in found.items())
