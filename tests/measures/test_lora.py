"""Adapters as peft writes them: names, scales, orientation, and what is refused."""

import json
import math

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import tiny_model

from interfere.errors import InputError
from interfere.measures.lora import merged, read_adapter

PREFIX = "base_model.model.model.layers.0.self_attn.q_proj"


def write(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 8} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def factors(prefix=PREFIX, r=2, out=5, inner=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{prefix}.lora_A.weight": torch.randn(r, inner, generator=generator),
        f"{prefix}.lora_B.weight": torch.randn(out, r, generator=generator),
    }


def product(tensors, prefix=PREFIX):
    return (
        tensors[f"{prefix}.lora_B.weight"].double()
        @ tensors[f"{prefix}.lora_A.weight"].double()
    ).numpy()


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 8 / 2),
        ({"use_rslora": True}, 8 / math.sqrt(2)),
        ({"alpha_pattern": {"q_proj": 3}}, 3 / 2),
        ({"alpha_pattern": {"k_proj": 3}}, 8 / 2),
        ({"r": 64, "rank_pattern": {"q_proj": 2}}, 8 / 2),
    ],
)
def test_scale(tmp_path, config, scale):
    tensors = factors()
    found = read_adapter(write(tmp_path, tensors, **config))
    assert list(found) == ["model.layers.0.self_attn.q_proj.weight"]
    delta = found["model.layers.0.self_attn.q_proj.weight"]
    assert delta.shape == (5, 3)
    assert delta.left @ delta.right == pytest.approx(scale * product(tensors))


def test_merging_adds_the_delta_to_the_stored_weight(tmp_path):
    name = "transformer.h.0.attn.c_attn"
    tensors = factors(f"base_model.model.{name}", out=9, inner=3)
    adapter = read_adapter(write(tmp_path, tensors))
    before = {f"{name}.weight": torch.ones(3, 9), "other.weight": torch.ones(2)}
    after = merged(before, adapter)
    x = torch.randn(4, 3)
    expected = x @ before[f"{name}.weight"] + 4 * (
        x
        @ tensors[f"base_model.model.{name}.lora_A.weight"].T
        @ tensors[f"base_model.model.{name}.lora_B.weight"].T
    )
    torch.testing.assert_close(x @ after[f"{name}.weight"], expected)
    assert after["other.weight"] is before["other.weight"]
    assert (before[f"{name}.weight"] == 1).all()


def test_an_embeddings_delta_lies_as_the_embedding_does(tmp_path):
    name = "base_model.model.model.embed_tokens"
    a, b = torch.randn(2, 11), torch.randn(4, 2)
    folder = write(tmp_path, {f"{name}.lora_embedding_A": a, f"{name}.lora_embedding_B": b})
    delta = read_adapter(folder)["model.embed_tokens.weight"]
    # peft adds embedding(ids, A.T) @ B.T to the embedding's output.
    ids = torch.tensor([3, 7])
    expected = 4 * (torch.nn.functional.embedding(ids, a.T) @ b.T)
    assert (delta.left @ delta.right)[[3, 7]] == pytest.approx(expected.numpy(), abs=1e-5)


def test_other_adapters_are_refused(tmp_path):
    with pytest.raises(InputError, match="of the kind DoRA is not a plain LoRA; merge"):
        read_adapter(write(tmp_path, factors(), use_dora=True))
    with pytest.raises(InputError, match="of the kind IA3"):
        read_adapter(write(tmp_path, factors(), peft_type="IA3"))
    whole = factors() | {"base_model.model.lm_head.weight": torch.ones(2, 2)}
    with pytest.raises(InputError, match=r"lm_head\.weight is no factor of a plain LoRA"):
        read_adapter(write(tmp_path, whole))
    half = {f"{PREFIX}.lora_A.weight": torch.ones(2, 3)}
    with pytest.raises(InputError, match="q_proj has only"):
        read_adapter(write(tmp_path, half))
    unlike = half | {f"{PREFIX}.lora_B.weight": torch.ones(5, 3)}
    with pytest.raises(InputError, match="don't fit"):
        read_adapter(write(tmp_path, unlike))
    with pytest.raises(InputError, match=r"adapter_config\.json can't be read"):
        read_adapter(tmp_path / "nowhere")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match=r"adapter_model\.safetensors can't be read"):
        read_adapter(tmp_path)


def test_numbers_are_read_from_half_precision(tmp_path):
    tensors = {name: value.bfloat16() for name, value in factors().items()}
    (delta,) = read_adapter(write(tmp_path, tensors)).values()
    assert delta.left.dtype == np.float64
    assert delta.left @ delta.right == pytest.approx(4 * product(tensors))


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "down_proj"]},
        {"target_modules": ["v_proj"], "use_rslora": True},
        {"target_modules": ["q_proj", "k_proj"], "alpha_pattern": {"k_proj": 3}},
        {"target_modules": ["q_proj", "o_proj"], "rank_pattern": {"o_proj": 1}},
        {"target_modules": ["embed_tokens", "up_proj"]},
    ],
    ids=["plain", "rslora", "alpha pattern", "rank pattern", "embedding"],
)
def test_what_peft_saves_is_what_peft_merges(tmp_path, settings):
    network = tiny_model().network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tuned = peft.get_peft_model(network, peft.LoraConfig(r=2, lora_alpha=6, **settings))
    generator = torch.Generator().manual_seed(0)
    for name, weight in tuned.named_parameters():
        if "lora_" in name:  # one factor starts at 0
            weight.data = torch.randn(weight.shape, generator=generator)
    tuned.save_pretrained(tmp_path)
    found = merged(before, read_adapter(tmp_path))
    expected = tuned.merge_and_unload().state_dict()
    changed = {name for name in found if not torch.equal(found[name], before[name])}
    assert changed
    for name in found:
        if name == "lm_head.weight" and "model.embed_tokens.weight" in changed:
            continue  # peft leaves a tied head as it was
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_an_adapter_of_pefts_that_is_no_product_is_refused(tmp_path):
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], use_dora=True)
    peft.get_peft_model(tiny_model().network, config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="an adapter of the kind DoRA is not a plain LoRA"):
        read_adapter(tmp_path)
