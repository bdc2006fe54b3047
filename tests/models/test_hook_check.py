"""Recording is refused where the plain hooks are not what TransformerLens shows."""

from dataclasses import replace

import pytest
import torch
from tiny_models import CONFIGS, places, tiny_model

from interfere import cache
from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.models import hook_check
from interfere.models.architectures import ARCHITECTURES
from interfere.models.hook_check import check_hooks
from interfere.models.model import Model


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERFERE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("architecture", CONFIGS)
def test_supported_architectures_pass_and_are_remembered(architecture, monkeypatch):
    state = torch.random.get_rng_state()
    check_hooks(tiny_model(architecture))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(list((cache.home() / "checks").iterdir())) == 1
    monkeypatch.setattr(hook_check, "_compare", None)
    check_hooks(tiny_model(architecture, seed=1))


@pytest.mark.parametrize(
    ("wrong", "hook"),
    [
        ({"mlp": "self_attn"}, "blocks.0.hook_mlp_out"),
        ({"attention": "input_layernorm"}, "blocks.0.hook_attn_out"),
        ({"projection": "self_attn.q_proj"}, "blocks.0.attn.hook_z"),
        ({"final_norm": "model.layers.1"}, "ln_final.hook_out"),
    ],
)
def test_a_hook_in_the_wrong_place_is_refused_by_name(wrong, hook, monkeypatch, tmp_path):
    name = "LlamaForCausalLM"
    monkeypatch.setitem(ARCHITECTURES, name, replace(ARCHITECTURES[name], **wrong))
    message = rf"{name} can't be recorded .*: {hook} is .* against TransformerLens' bridge"
    with pytest.raises(InputError, match=message):
        record(tiny_model(), places(), tmp_path / "a.h5", hooks="*")
    assert not (tmp_path / "a.h5").exists()
    assert not (cache.home() / "checks").exists()


def test_an_architecture_that_the_bridge_cannot_wrap_is_refused(monkeypatch):
    def hooked(model: Model):
        raise ValueError("no adapter for\nthis one")

    monkeypatch.setattr(Model, "hooked", hooked)
    with pytest.raises(InputError, match="can't wrap it: no adapter for this one"):
        check_hooks(tiny_model())
