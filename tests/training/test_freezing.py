"""What each group trains, by architecture."""

import re

import pytest
from tiny_models import tiny_model

from interfere.errors import InputError
from interfere.training.freezing import Freezing
from interfere.training.train import train


def trained(architecture: str, freezing: Freezing) -> set[str]:
    network = tiny_model(architecture).network
    freezing.change(network)
    chosen = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert freezing.parameters(network) == sum(p.numel() for p in chosen.values())
    return {re.sub(r"\.\d+\.", ".0.", name) for name in chosen}


@pytest.mark.parametrize(
    ("architecture", "attention", "ffn"),
    [
        (
            "llama",
            "model.layers.0.self_attn.{}_proj.weight",
            "model.layers.0.mlp.{}_proj.weight",
        ),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", "transformer.h.0.mlp.c_fc.weight"),
        (
            "neox",
            "gpt_neox.layers.0.attention.query_key_value.weight",
            "gpt_neox.layers.0.mlp.dense_h_to_4h.weight",
        ),
    ],
)
def test_groups_are_disjoint_and_as_named(architecture, attention, ffn):
    heads, mlps = (trained(architecture, Freezing(group)) for group in ("attention", "ffn"))
    assert not heads & mlps
    assert attention.format("q") in heads
    assert ffn.format("up") in mlps


def test_llama_groups_are_exactly_these():
    heads, mlps = (trained("llama", Freezing(group)) for group in ("attention", "ffn"))
    assert heads == {f"model.layers.0.self_attn.{x}_proj.weight" for x in "qkvo"}
    assert mlps == {f"model.layers.0.mlp.{x}_proj.weight" for x in ("gate", "up", "down")}


def test_norms_inside_attention_stay_frozen():
    assert not any("norm" in name for name in trained("qwen3", Freezing("attention")))


def test_globs_may_name_anything():
    assert trained("llama", Freezing(["model.norm.*"])) == {"model.norm.weight"}


def test_frozen_weights_are_bit_identical_after_training(model, split):
    tuned = train(model, split, mitigation=Freezing("attention"), steps=3)
    before = dict(model.network.named_parameters())
    for name, after in tuned.network.named_parameters():
        assert after.equal(before[name]) != ("self_attn" in name), name
    assert all(p.requires_grad for p in tuned.network.parameters())


@pytest.mark.parametrize(
    ("globs", "what"), [(["*.adapter.*"], "everything"), (["*"], "nothing")]
)
def test_freezing_everything_or_nothing_is_refused(model, globs, what):
    with pytest.raises(
        InputError, match=f"would freeze {what} of LlamaForCausalLM; .*model"
    ):
        Freezing(globs).change(model.copy().network)


def test_unknown_group_is_refused():
    with pytest.raises(
        InputError, match="no parameter group 'heads'; choose attention or ffn"
    ):
        Freezing("heads")
