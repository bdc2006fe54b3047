import resource
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from tiny_models import CONFIGS, tiny_model, tokenizer

from interfere.errors import InputError
from interfere.models.load import load_model
from interfere.models.model import Model


def tied(yes: bool) -> Model:
    return tiny_model("llama", tie_word_embeddings=yes)


@contextmanager
def files_no_larger_than(size: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_digest_changes_with_every_weight():
    model = tied(False)
    start = model.digest
    for name, value in model.network.named_parameters():
        with torch.no_grad():
            kept = value.view(-1)[-1].clone()
            value.view(-1)[-1] += 1
            assert model.digest != start, name
            value.view(-1)[-1] = kept
    assert model.digest == start


def test_digest_is_of_the_weights_alone():
    model = tied(True)
    assert replace(model, name="other").digest == model.digest
    assert tiny_model("llama", seed=0, tie_word_embeddings=True).digest == model.digest
    assert tiny_model("llama", seed=1, tie_word_embeddings=True).digest != model.digest
    model.network.train().requires_grad_(False)
    assert tied(True).digest == model.digest


def test_digest_tells_dtypes_apart_and_reads_bfloat16():
    model = tied(True)
    half = Model("half", model.copy().network.bfloat16(), model.tokenizer)
    again = Model("again", half.copy().network.float(), model.tokenizer)
    assert len({model.digest, half.digest, again.digest}) == 3


@pytest.mark.parametrize("architecture", CONFIGS)
def test_save_and_load_gives_the_same_model(architecture, tmp_path):
    model = tiny_model(architecture)
    again = load_model(model.save(tmp_path / "saved"))
    assert again.digest == model.digest
    if architecture != "qwen2":  # transformers makes every tokenizer beside it Qwen's
        assert again.tokenizer_digest == model.tokenizer_digest
    assert not again.network.training
    assert [file.name for file in tmp_path.iterdir()] == ["saved"]
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.parametrize("yes", [True, False])
def test_tied_weights_stay_tied(yes, tmp_path):
    again = load_model(tied(yes).save(tmp_path / "saved"))
    head, words = (
        again.network.get_output_embeddings(),
        again.network.get_input_embeddings(),
    )
    assert (head.weight is words.weight) is yes
    assert again.digest == tied(yes).digest


def test_save_replaces_a_folder_whole(tmp_path):
    target = tied(True).save(tmp_path / "saved")
    (target / "litter").touch()
    tied(False).save(target)
    assert not (target / "litter").exists()
    assert load_model(target).digest == tied(False).digest


def test_a_full_disk_leaves_what_was_there(tmp_path):
    target = tied(True).save(tmp_path / "saved")
    with (
        files_no_larger_than(8192),
        pytest.raises(InputError, match=f"cannot write {target}"),
    ):
        tied(False).save(target)
    assert load_model(target).digest == tied(True).digest
    assert [file.name for file in tmp_path.iterdir()] == ["saved"]


def test_copy_shares_no_weights():
    model = tied(True)
    start, twin = model.digest, model.copy("twin")
    with torch.no_grad():
        for value in twin.network.parameters():
            value.zero_()
    assert model.digest == start
    assert (twin.name, twin.tokenizer) == ("twin", model.tokenizer)
    head, words = twin.network.get_output_embeddings(), twin.network.get_input_embeddings()
    assert head.weight is words.weight


def test_hooked_leaves_the_model_as_it_was(tmp_path):
    model = tiny_model("llama")
    ids = torch.tensor([tokenizer()("Q: Which country is Lyon located in?").input_ids])
    start, modules = model.digest, [type(m) for m in model.network.modules()]
    kept = model.tokenizer_digest, dict(model.tokenizer.init_kwargs)
    with torch.inference_mode():
        expected = model.network(ids).logits
        found = model.hooked()(ids)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert model.digest == start
    assert [type(m) for m in model.network.modules()] == modules
    assert (model.tokenizer_digest, dict(model.tokenizer.init_kwargs)) == kept
    assert load_model(model.save(tmp_path / "saved")).digest == start
    model.network.load_state_dict(model.network.state_dict())
    model.network(ids, labels=ids).loss.backward()


def test_tokenizer_digest_ignores_how_the_last_call_padded():
    model = tiny_model()
    before = model.tokenizer_digest
    model.tokenizer(["a", "a longer text"], padding=True, truncation=True, max_length=4)
    assert model.tokenizer_digest == before
