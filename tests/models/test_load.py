from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model
from transformers import AutoTokenizer

from interfere.errors import InputError
from interfere.models.load import load_model


@pytest.fixture
def folder(tmp_path) -> Path:
    return tiny_model("llama").save(tmp_path / "model")


def test_the_shipped_model():
    model = load_model("nano")
    assert model.name == "nano"
    assert not model.network.training
    assert model.network.dtype == torch.float32
    assert model.tokenizer.pad_token is not None
    assert all(value.requires_grad for value in model.network.parameters())


def test_dtype_and_device(folder):
    model = load_model(folder, device="cpu", dtype="bfloat16")
    assert {value.dtype for value in model.network.parameters()} == {torch.bfloat16}
    assert model.device == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert load_model(folder).device.type == expected


def test_a_tokenizer_without_padding_pads_with_its_end(folder):
    words = AutoTokenizer.from_pretrained(folder)
    words.pad_token = None
    words.save_pretrained(folder)
    model = load_model(folder)
    assert model.tokenizer.pad_token == model.tokenizer.eos_token == "<|endoftext|>"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nan0", {}, "'nan0': did you mean 'nano'"),
        ("SmolLM2", {}, "did you mean 'smollm2-135m'"),
        ("who/knows", {}, "'who/knows': there are nano, smollm2-135m, local folders"),
        ("/no/such/folder", {}, "'/no/such/folder': there are nano"),
        ("missing.gguf", {}, "there is no file missing.gguf"),
        ("nano", {"dtype": "float64"}, "unknown dtype 'float64'; there are float32, bf"),
        ("nano", {"device": "abacus"}, "device 'abacus' can't be used here"),
    ],
)
def test_bad_arguments(name, options, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=message) as caught:
        load_model(name, **options)
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_models(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"empty is no model folder: it has no config\.json"
    ):
        load_model(tmp_path / "empty")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(InputError, match=str(folder)) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    weights.write_bytes(whole)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(InputError, match="model has no tokenizer"):
        load_model(folder)


def test_pickled_weights_are_never_read(folder):
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(InputError, match="no weights as safetensors"):
        load_model(folder)


def test_a_garbled_gguf_is_named(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(InputError, match=r"bad\.gguf can't be read as GGUF") as caught:
        load_model(tmp_path / "bad.gguf")
    assert "\n" not in str(caught.value)
