"""Plain hooks against TransformerLens' bridge and the eager network's own hidden states."""

import pytest
import torch
from tiny_models import CONFIGS, places, tiny_model, tokenizer
from torch import Tensor
from transformers import BertConfig, BertLMHeadModel

from interfere.errors import InputError
from interfere.facts import questions
from interfere.models import hooks
from interfere.models.model import Model


def ids() -> Tensor:
    text = questions.prompt(places()[0]) + " " + places()[0].answer
    return torch.tensor([tokenizer()(text).input_ids])


def subject() -> Tensor:
    marked = torch.zeros_like(ids(), dtype=torch.bool)
    marked[:, 5:9] = True
    return marked


def watched(model: Model, names: list[str]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    watching = hooks.watching(model.network, names, seen.__setitem__, subject=subject())
    with torch.inference_mode(), watching:
        model.network(ids(), use_cache=False)
    return seen


def assert_near(found: Tensor, expected: Tensor, name: str) -> None:
    assert found.shape == expected.shape, name
    assert (found - expected).norm() <= 1e-4 * expected.norm(), name


@pytest.mark.parametrize("architecture", CONFIGS)
def test_equal_the_bridge(architecture):
    model = tiny_model(architecture)
    names = hooks.hook_names(model.network)
    found = watched(model, names)
    theirs = [hooks.bridge_name(name) for name in names]
    with torch.inference_mode():
        _, cached = model.hooked().run_with_cache(ids(), names_filter=theirs)
    assert set(found) == set(names)
    for name in names:
        expected = cached[hooks.bridge_name(name)]
        if name.endswith(hooks.MASS):
            expected = expected[..., subject()[0]].sum(-1).mT
        assert_near(found[name], expected, name)
        assert found[name].shape[2:] == hooks.shape(model.network, name)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_equal_the_eager_hidden_states_up_to_the_last_layer(architecture):
    model = tiny_model(architecture)
    eager = tiny_model(architecture, attn_implementation="eager")
    with torch.inference_mode():
        states = eager.network(ids(), output_hidden_states=True).hidden_states
        last = model.layers - 1
        found = watched(model, hooks.hook_names(model.network))
        norm = model.network.get_submodule(hooks.architecture(model.network).final_norm)
        assert_near(
            norm(found[f"blocks.{last}.hook_out"]), states[-1], "last layer, normed"
        )
    for layer in range(last):
        assert_near(found[f"blocks.{layer}.hook_out"], states[layer + 1], f"layer {layer}")
    assert_near(found["ln_final.hook_out"], states[-1], "final norm")


@pytest.mark.parametrize("architecture", CONFIGS)
def test_mass_on_the_subject_leaves_the_network_as_it_is(architecture):
    model = tiny_model(architecture)
    out = f"blocks.{model.layers - 1}.hook_out"
    names = hooks.resolve(model.network, ["*.hook_subject_mass", out])
    implementation = model.network.config._attn_implementation
    found = watched(model, names)
    assert torch.equal(found[out], watched(model, [out])[out])
    assert model.network.config._attn_implementation == implementation
    for name in names[:-1]:
        mass = found[name]
        assert mass.shape == (1, ids().shape[1], 4)
        assert (mass[:, :5] == 0).all()  # the subject is still to come
        assert (mass[:, 5:] > 0).any()
        assert (mass <= 1 + 1e-6).all()


def test_mass_where_all_is_subject_is_one():
    model, seen = tiny_model(), {}
    names = ["blocks.1.attn.hook_subject_mass"]
    whole = torch.ones_like(ids(), dtype=torch.bool)
    watching = hooks.watching(model.network, names, seen.__setitem__, subject=whole)
    with torch.inference_mode(), watching:
        model.network(ids())
    assert torch.allclose(seen[names[0]], torch.ones(()), atol=1e-6)


def test_mass_needs_an_attention_that_shows_weights():
    network = tiny_model().network
    network.config._attn_implementation = "flex_attention"
    names = ["blocks.1.attn.hook_subject_mass"]
    with (
        pytest.raises(InputError, match=r"1.attn.hook_subject_mass: .*'flex_attention'"),
        hooks.watching(network, names, print, subject=subject()),
    ):
        pass


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_residual_stream_is_the_sum_of_what_is_added(architecture):
    model = tiny_model(architecture)
    seen = watched(model, hooks.hook_names(model.network))
    before, after = seen["blocks.0.hook_out"], seen["blocks.1.hook_out"]
    added = seen["blocks.1.hook_attn_out"] + seen["blocks.1.hook_mlp_out"]
    assert_near(before + added, after, architecture)


def test_hooks_are_gone_after_the_block():
    model, seen = tiny_model(), []
    with (
        pytest.raises(ZeroDivisionError),
        hooks.watching(model.network, ["blocks.0.hook_out"], lambda *_: seen.append(1)),
    ):
        _ = 1 / 0
    model.network(ids())
    assert not seen


def test_patterns_and_aliases():
    network = tiny_model().network
    assert hooks.resolve(network, "blocks.*.hook_out") == [
        "blocks.0.hook_out",
        "blocks.1.hook_out",
        "blocks.2.hook_out",
    ]
    mixed = ["ln_final.hook_out", "blocks.[01].hook_resid_post", "blocks.1.hook_out"]
    assert hooks.resolve(network, mixed) == [
        "blocks.0.hook_out",
        "blocks.1.hook_out",
        "ln_final.hook_out",
    ]
    assert hooks.resolve(network, "*") == hooks.hook_names(network)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "blocks.3.hook_out",
            r"no hook is named 'blocks.3.hook_out'; near it are .*hook_out",
        ),
        ("blocks.1.hook_mlp_ou", r"near it are blocks.1.hook_mlp_out"),
        ("ln_final.hook_normalized", r"near it are ln_final.hook_out"),
        ("~~~", r"there are blocks.0.attn.hook_subject_mass, .*, ln_final.hook_out"),
    ],
)
def test_unknown_hook_names_the_near_misses(pattern, message):
    with pytest.raises(InputError, match=message):
        hooks.resolve(tiny_model().network, [pattern])


def test_no_hooks():
    with pytest.raises(InputError, match="no hooks are named"):
        hooks.resolve(tiny_model().network, [])


def test_other_architectures_are_refused_by_name():
    config = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    with pytest.raises(InputError, match=r"BertLMHeadModel is not supported .* Llama"):
        hooks.hook_names(BertLMHeadModel(config))
