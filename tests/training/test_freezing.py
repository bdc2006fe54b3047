"""What each group trains, by architecture."""

import re

import pytest
from tiny_models import tiny_model

from interfere.errors import InputError
from interfere.training.freezing import Freezing
from interfere.training.parts import prepare
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


def test_components_and_depth(model):
    names = {n for n, _ in model.network.named_parameters()}
    kept = {n for n, p in _changed(model, Freezing(freezes=["norms", "embeddings"])) if p}
    assert kept == {n for n in names if "norm" not in n and "embed" not in n}
    upper = {n for n, p in _changed(model, Freezing(bottom=2)) if p}
    assert upper == {n for n in names if ".0." not in n and ".1." not in n} - {
        "model.embed_tokens.weight"
    }
    both = {n for n, p in _changed(model, Freezing("ffn", bottom=2)) if p}
    assert both == {n for n in names if n.startswith("model.layers.2.mlp.")}


def _changed(model, freezing):
    network = model.copy().network
    freezing.change(network)
    return [(n, p.requires_grad) for n, p in network.named_parameters()]


def test_random_control_moves_as_many_weights_and_no_other(model, split):
    freezing = Freezing("attention", random_control=True)
    tuned = train(model, split, mitigation=freezing, steps=3, batch_size=6)
    before = dict(model.network.named_parameters())
    moved = {n: int((p != before[n]).sum()) for n, p in tuned.network.named_parameters()}
    assert not any(count for n, count in moved.items() if "proj" not in n)
    assert all(count for n, count in moved.items() if "proj" in n)
    # a gradient that is exactly 0 leaves a chosen weight where it was
    assert 0.9 * freezing.parameters(model.network) < sum(moved.values())
    assert sum(moved.values()) <= freezing.parameters(model.network)
    again = train(tuned, split, steps=3)  # no mask is left behind
    for name, now in again.network.named_parameters():
        if "proj" in name:
            assert (now != tuned.network.get_parameter(name)).float().mean() > 0.9, name


def test_weights_that_decay_would_not_stay(model, begin):
    start = begin(model.copy())
    start.arguments.weight_decay = 0.1
    with pytest.raises(InputError, match=r"weight_decay=0\.1 would move the weights"):
        prepare([Freezing(trains="attention", random_control=True)], start)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "say what to freeze"),
        ({"trains": "ffn", "freezes": "head"}, "not both"),
        ({"bottom": -1}, "bottom must be 0 blocks or more, got -1"),
        ({"bottom": 9}, "bottom=9, but LlamaForCausalLM has 3 blocks"),
    ],
)
def test_settings_that_say_nothing_are_refused(model, settings, message):
    with pytest.raises(InputError, match=message):
        Freezing(**settings).change(model.copy().network)


def test_unknown_group_is_refused():
    with pytest.raises(
        InputError, match="no component 'heads'; choose attention or ffn or embed"
    ):
        Freezing("heads")
