"""What a recording holds, held to plain forward passes of one fact at a time."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from small_recordings import SMALL, relative
from tiny_models import CONFIGS, places, tiny_model

from interfere.activations.recorder import record
from interfere.activations.recording import Recording
from interfere.facts.fact import FactSet
from interfere.models.answering import ask
from interfere.models.architectures import ARCHITECTURES
from interfere.models.encoding import subject_spans
from interfere.models.hooks import resolve, watching

# Attention to the subject needs whole prompts; without it they share their beginning.
ALL, SHARING = "*", ["blocks.*.hook_*out", "*.hook_z", "ln_final.hook_out"]


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("hooks", [ALL, SHARING], ids=["all", "sharing"])
def test_rows_are_the_plain_forward_of_one_fact_at_a_time(architecture, hooks, tmp_path):
    model = tiny_model(architecture)
    names = resolve(model.network, hooks)
    facts = places()[:12]
    recording = record(
        model, facts, tmp_path / "a.h5", hooks=hooks, chunk_facts=7, batch_facts=3
    )
    subjects = [fact.subject for fact in facts]
    spans = subject_spans(model.tokenizer, recording.prompts, subjects)
    for row, tokens in enumerate(recording.tokens):
        seen: dict[str, torch.Tensor] = {}
        ids = torch.from_numpy(tokens).long()[None]
        span = spans[row]
        subject = (torch.arange(len(tokens)) >= span[0]) & (
            torch.arange(len(tokens)) <= span[1]
        )
        watch = watching(model.network, names, seen.__setitem__, subject=subject[None])
        with torch.inference_mode(), watch:
            logits = model.network(ids).logits[0].double()
        for position in recording.positions:
            at = recording.at(position)[row]
            for name in names:
                found = recording[name, position][row]
                assert relative(found, seen[name][0, at].numpy()) < 1e-4, (name, position)
        start = recording.at("answer_first")[row]
        steps = logits[start - 1 : -1].log_softmax(-1)
        expected = steps.gather(1, ids[0, start:, None]).sum().item()
        assert recording.logprob[row] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_the_eager_hidden_states_padded_on_either_side(
    architecture, side, tmp_path
):
    model = tiny_model(architecture)
    eager = tiny_model(architecture, attn_implementation="eager").network
    recording = record(model, places()[:9], tmp_path / "a.h5", hooks=SHARING, batch_facts=4)
    words = copy.deepcopy(model.tokenizer)
    words.padding_side = side
    batch = words.pad({"input_ids": recording.tokens}, return_tensors="pt")
    mask = batch["attention_mask"]
    with torch.inference_mode():
        states = eager(
            input_ids=batch["input_ids"].long(),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            output_hidden_states=True,
        ).hidden_states
        norm = eager.get_submodule(ARCHITECTURES[type(eager).__name__].final_norm)
    shift = mask.argmax(1).numpy()
    assert (shift > 0).any() == (side == "left")
    for position in recording.positions:
        at = recording.at(position) + shift
        for layer in range(model.layers):
            found = recording[f"blocks.{layer}.hook_out", position].torch()
            last = layer == model.layers - 1
            with torch.inference_mode():
                found = norm(found) if last else found
            expected = states[layer + 1][torch.arange(9), torch.from_numpy(at)]
            assert relative(found, expected) < 1e-4, (layer, position)
        ended = recording["ln_final.hook_out", position].torch()
        expected = states[-1][torch.arange(9), torch.from_numpy(at)]
        assert relative(ended, expected) < 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_records_what_the_cpu_records(recording, tmp_path):
    model = tiny_model()
    model.network.to("cuda")
    found = record(model, places(), tmp_path / "gpu.h5", hooks="*", **SMALL)
    for hook in recording.hooks:
        for position in recording.positions:
            there = recording[hook, position].numpy()
            assert relative(found[hook, position].numpy(), there) < 1e-3
    assert found.logprob == pytest.approx(recording.logprob, rel=1e-3)


def test_score_is_that_of_asking(recording, model):
    answers = ask(model, places(), sampling=False)
    assert recording.logprob == pytest.approx(answers.logprob, rel=1e-4)
    assert not (recording.right & ~answers.right).any()


def test_right_follows_the_greedy_answer(model, tmp_path):
    # A head turned towards "Q: …\nA: China\n" of one fact makes that fact right.
    fact, twin = places()[:1], model.copy()
    optimizer = torch.optim.Adam(twin.network.parameters(), lr=3e-3)
    ids = torch.from_numpy(record(model, fact, tmp_path / "0.h5").tokens[0]).long()[None]
    for _ in range(40):
        loss = twin.network(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert record(twin, fact, tmp_path / "1.h5").right.all()
    assert ask(twin, fact, sampling=False).right.all()


def test_a_tuned_copy_records_its_own_weights(recording, model, tmp_path):
    twin = model.copy()
    with torch.no_grad():
        twin.network.get_submodule("model.layers.1.mlp.down_proj").weight.mul_(2)
    tuned = record(twin, places(), tmp_path / "tuned.h5", hooks="*", **SMALL)
    assert tuned.attributes["weights"] != recording.attributes["weights"]
    key = "blocks.0.hook_out", "subject_last"
    assert np.array_equal(tuned[key], recording[key])
    assert not np.allclose(
        tuned["blocks.1.hook_out", "subject_last"],
        recording["blocks.1.hook_out", "subject_last"],
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept_to_the_bit(dtype, tmp_path):
    model = tiny_model()
    model.network.to(dtype)
    recording = record(model, places()[:5], tmp_path / "half.h5", batch_facts=1)
    seen: dict[str, torch.Tensor] = {}
    names = ["blocks.1.hook_out"]
    with torch.inference_mode(), watching(model.network, names, seen.__setitem__):
        model.network(torch.from_numpy(recording.tokens[3]).long()[None])
    at = recording.at("prompt_last")[3]
    found = recording["blocks.1.hook_out", "prompt_last"]
    expected = seen["blocks.1.hook_out"][0, at]
    assert found.dtype == found.torch().dtype == dtype
    assert torch.equal(found.torch()[3], expected)
    assert torch.equal(torch.as_tensor(found[[3, 0]])[0], expected)
    assert np.array_equal(found.numpy()[3], expected.float().numpy())


def test_the_mode_is_restored(model, tmp_path):
    twin = model.copy()
    twin.network.train()
    twin.network.get_submodule("model.norm").eval()
    before = [module.training for module in twin.network.modules()]
    record(twin, places()[:3], tmp_path / "a.h5")
    assert [module.training for module in twin.network.modules()] == before


def test_autocast_around_it_changes_nothing(recording, model, tmp_path):
    with torch.autocast("cpu", torch.bfloat16):
        found = record(model, places(), tmp_path / "a.h5", hooks="*", **SMALL)
    key = "blocks.2.hook_out", "prompt_last"
    assert np.array_equal(found[key].numpy(), recording[key].numpy())


def test_threads_on_one_network_do_not_see_each_other(model, recording, tmp_path):
    turned = FactSet(places().facts[::-1], "turned")

    def run(number: int) -> Recording:
        facts = turned if number % 2 else places()
        return record(model, facts, tmp_path / f"{number}.h5", **SMALL)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, range(8)))
    key = "blocks.2.hook_out", "subject_last"
    expected = recording[key].numpy()
    for number, one in enumerate(found):
        rows = one[key].numpy()[:: -1 if number % 2 else 1]
        assert relative(rows, expected) < 1e-5
    assert model.network.config._attn_implementation == "sdpa"
