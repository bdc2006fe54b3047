"""Every weight of every architecture has a name, and fused ones come apart rightly."""

import pytest
import torch
from tiny_models import CONFIGS, tiny_model

from interfere.models.weight_parts import parts, upright_shape

GATED = {"q", "k", "v", "o", "gate", "up", "down", "norm", "embedding", "head"}
EXPECTED = {
    "gpt2": {"q", "k", "v", "o", "up", "down", "norm", "embedding", "positions", "bias", "head"},
    "neox": {"q", "k", "v", "o", "up", "down", "norm", "embedding", "bias", "head"},
    "qwen2": GATED | {"bias"},
}  # fmt: skip


def parts_of(model, config=None):
    return [
        (part, value)
        for name, value in model.network.state_dict().items()
        for part in parts(name, upright_shape(name, value.shape)[0], config)
    ]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_every_weight_is_known(architecture):
    model = tiny_model(architecture)
    found = parts_of(model, model.network.config)
    assert {part.component for part, _ in found} == EXPECTED.get(architecture, GATED)
    inside = {part.layer for part, _ in found if part.component in "qkv"}
    assert inside == {0, 1, 2}
    assert {part.layer for part, _ in found if part.component == "embedding"} == {None}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_parts_are_the_whole_once(architecture):
    model = tiny_model(architecture)
    sizes = {}
    for part, value in parts_of(model, model.network.config):
        sizes[part.parameter] = sizes.get(part.parameter, 0) + part.of(value).numel()
    assert sizes == {name: v.numel() for name, v in model.network.state_dict().items()}


FUSED = {
    "gpt2": "transformer.h.1.attn.c_attn",
    "phi3": "model.layers.1.self_attn.qkv_proj",
    "neox": "gpt_neox.layers.1.attention.query_key_value",
}


@pytest.mark.parametrize("architecture", FUSED)
def test_fused_attention_is_apart_as_the_network_takes_it_apart(architecture):
    """Only q's part set to zero leaves the attention's scores all equal."""
    model = tiny_model(architecture, attn_implementation="eager")
    network, name = model.network, f"{FUSED[architecture]}.weight"
    weight = network.state_dict()[name]
    bias = network.state_dict().get(name.replace("weight", "bias"))
    own = {
        part.component: part
        for part in parts(name, upright_shape(name, weight.shape)[0], network.config)
    }
    assert list(own) == ["q", "k", "v"]
    ids = torch.arange(1, 7)[None]

    def patterns():
        with torch.no_grad():
            return network(ids, output_attentions=True).attentions[1][0]

    uniform = torch.tril(torch.ones(6, 6)) / torch.arange(1, 7)[:, None]
    assert not torch.allclose(patterns(), uniform.expand(4, 6, 6), atol=1e-3)
    before = patterns()
    if bias is not None:
        bias.zero_()
        before = patterns()
    value = own["v"].of(weight).clone()
    own["v"].put(weight, torch.zeros_like(value))
    assert torch.allclose(patterns(), before)  # v has no say in where attention goes
    own["v"].put(weight, value)
    own["q"].put(weight, torch.zeros_like(own["q"].of(weight)))
    assert torch.allclose(patterns(), uniform.expand(4, 6, 6), atol=1e-6)


def test_gate_and_up_are_apart_as_phi3_takes_them_apart():
    model = tiny_model("phi3")
    name = "model.layers.0.mlp.gate_up_proj.weight"
    weight = model.network.state_dict()[name]
    gate, up = parts(name, len(weight))
    mlp, x = model.network.model.layers[0].mlp, torch.randn(5, 64)
    with torch.no_grad():
        act = torch.nn.functional.silu(x @ gate.of(weight).T) * (x @ up.of(weight).T)
        torch.testing.assert_close(mlp(x), mlp.down_proj(act))


def test_without_a_configuration_what_needs_heads_stays_whole():
    (part,) = parts("gpt_neox.layers.0.attention.query_key_value.weight", 192)
    assert (part.component, part.layer, part.rows) == ("qkv", 0, None)


def test_conv1d_is_turned_round():
    model = tiny_model("gpt2")
    name = "transformer.h.0.mlp.c_fc.weight"
    weight = model.network.state_dict()[name]
    (part,) = parts(name, upright_shape(name, weight.shape)[0])
    assert tuple(weight.shape) == (64, 256)
    assert tuple(part.of(weight).shape) == (256, 64)
    part.put(weight, torch.ones(256, 64))
    assert (model.network.transformer.h[0].mlp.c_fc.weight == 1).all()
