"""What a recording holds, held to plain forward passes of one fact at a time."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, places, tiny_model

from interfere.activations.gathering import Gathering
from interfere.activations.plan import POSITIONS, make_plan
from interfere.activations.recorder import record
from interfere.activations.recording import Recording, open_recording
from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.facts.geonames import geonames
from interfere.models.answering import ask
from interfere.models.architectures import ARCHITECTURES
from interfere.models.encoding import subject_spans
from interfere.models.hooks import resolve, watching
from interfere.models.model import Model

SMALL = {"chunk_facts": 20, "batch_facts": 8}


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def recording(model, tmp_path_factory) -> Recording:
    file = tmp_path_factory.mktemp("recording") / "all.h5"
    return record(model, places(), file, hooks="*", **SMALL)


def relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


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


def test_layout_in_plain_h5py(recording):
    n, d = len(places()), 64
    with h5py.File(recording.path) as file:
        for name in ("format", "version", "model", "weights", "tokenizer", "facts"):
            assert name in file.attrs
        for name in ("libraries", "dtype", "batch_plan", "threads"):
            assert name in file.attrs
        assert file.attrs["complete"] == 1
        data = file["blocks.1.hook_out/subject_last"]
        assert data.shape == (n, d)
        assert data.dtype == np.float32
        assert data.chunks is None
        assert data.compression is None
        assert file["blocks.0.attn.hook_z/answer_first"].shape == (n, 4, 16)
        assert file["blocks.0.attn.hook_subject_mass/prompt_last"].shape == (n, 4)
        assert file["ln_final.hook_out/prompt_last"].shape == (n, d)
        assert [s.decode() for s in file["facts/id"]] == places().ids
        answers = [fact.answer for fact in places()]
        assert list(file["facts/answer"].asstr()) == answers
        assert file["prompts"].asstr()[0].startswith("Q: Which country is Shanghai")
        assert file["tokens/offsets"].shape == (n + 1,)
        assert file["tokens/offsets"][-1] == len(file["tokens/ids"])
        assert file["positions/prompt_last"].shape == (n,)
        assert file["score/logprob"].shape == file["score/right"].shape == (n,)
        assert list(file["chunks/done"]) == [1, 1, 1]
        assert file["chunks/checksum"].shape == (3,)


def test_tokens_are_prompt_answer_and_end(recording, model):
    for row, fact in enumerate(places()):
        text = f"{recording.prompts[row]} {fact.answer}\n"
        assert model.tokenizer.decode(recording.tokens[row]) == text
        before = recording.tokens[row][: recording.at("answer_first")[row]]
        assert model.tokenizer.decode(before) == recording.prompts[row]
        assert recording.at("prompt_last")[row] == recording.at("answer_first")[row] - 1


def test_positions_where_the_subject_stands_twice(model, tmp_path):
    question = "Is Cairo, the old Cairo, in Africa or where?"
    facts = FactSet((Fact("0" * 16, "Cairo", "P17", "Egypt", question=question),), "two")
    recording = record(model, facts, tmp_path / "two.h5")
    upto = recording.tokens[0][: recording.at("subject_last")[0] + 1]
    assert model.tokenizer.decode(upto).endswith("the old Cairo")


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


def test_a_finished_recording_is_not_made_again(recording, model, monkeypatch):
    monkeypatch.setattr(Gathering, "run", None)
    again = record(model, places(), recording.path, hooks="*", **SMALL)
    assert again.attributes == recording.attributes


def test_aliases_and_unknown_names(recording):
    same = recording["blocks.1.hook_resid_post", "prompt_last"]
    assert np.array_equal(same, recording["blocks.1.hook_out", "prompt_last"])
    with pytest.raises(InputError, match=r"'blocks.9.hook_out'; near it are .*hook_out"):
        _ = recording["blocks.9.hook_out", "prompt_last"]
    with pytest.raises(InputError, match=r"'subject_lst'; near it are subject_last"):
        _ = recording["blocks.1.hook_out", "subject_lst"]


def test_table_and_reopening(recording):
    again = open_recording(recording.path)
    assert list(again.table.columns) == ["id", "subject", "relation", "answer"]
    assert list(again.table["id"]) == places().ids
    assert len(again) == 50
    assert again.hooks == recording.hooks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hooks": "blocks.7.hook_out"}, r"no hook is named 'blocks.7.hook_out'"),
        ({"positions": ["prompt_first"]}, r"'prompt_first'; near it are prompt_last"),
        ({"positions": []}, r"no positions are named; there are subject_last"),
        ({"batch_facts": 0}, r"at least 1 fact, got 1024 and 0"),
    ],
)
def test_bad_arguments_leave_no_file(model, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        record(model, places(), tmp_path / "a.h5", **arguments)
    assert not list(tmp_path.iterdir())


def test_bad_facts(model, tmp_path):
    long = replace(places()[0], question="Where is Shanghai? " * 40)
    with pytest.raises(
        InputError, match=r"x: row 0 \('Shanghai'\) takes \d+ tokens, .* 128"
    ):
        record(model, FactSet((long,), "x"), tmp_path / "a.h5")
    with pytest.raises(InputError, match="x: there are no facts"):
        record(model, FactSet((), "x"), tmp_path / "a.h5")


def test_double_precision_is_refused(tmp_path):
    model = tiny_model()
    model.network.double()
    with pytest.raises(InputError, match=r"computes in float64; load it in float32"):
        record(model, places(), tmp_path / "a.h5")


def test_without_scores_nothing_is_unembedded(recording, model, tmp_path, monkeypatch):
    monkeypatch.setattr("interfere.activations.gathering.unembed", None)
    bare = record(model, places(), tmp_path / "a.h5", hooks="*", scores=False, **SMALL)
    key = "blocks.1.hook_out", "prompt_last"
    assert relative(bare[key].numpy(), recording[key].numpy()) < 1e-5
    with pytest.raises(InputError, match=r"a.h5 was recorded without scores"):
        _ = bare.right
    with pytest.raises(InputError, match=r"another recording: scores are not kept there"):
        record(model, places(), tmp_path / "a.h5", hooks="*", **SMALL)


def tokens_run(model: Model, file: Path, **arguments) -> tuple[int, int]:
    """Tokens that go through the first block, and through the last."""
    counts = [0, 0]

    def count(place: int, ids: torch.Tensor) -> None:
        counts[place] += ids.shape[0] * ids.shape[1]

    blocks = model.network.get_submodule("model.layers")
    handles = [
        block.register_forward_pre_hook(lambda _, args, i=i: count(i, args[0]))
        for i, block in enumerate((blocks[0], blocks[-1]))
    ]
    facts = places()[:20]
    record(model, facts, file, batch_facts=1, **arguments)
    for handle in handles:
        handle.remove()
    return counts[0], counts[1]


def test_only_what_is_needed_runs(model, tmp_path):
    plan = make_plan(
        model.tokenizer, places()[:20], POSITIONS, chunk_facts=1024, batch_facts=1
    )
    begin = len(plan.beginning(range(20)))
    assert model.tokenizer.decode(plan.tokens[0][:begin]) == "Q: Which country is"
    record(model, places(), tmp_path / "0.h5")  # the checks of a first recording are done
    every = sum(len(ids) for ids in plan.tokens)
    upto = int((plan.answers_at + 1).sum())
    shared = begin - 20 * begin
    out = "blocks.1.hook_out"
    assert tokens_run(model, tmp_path / "1.h5", hooks="*") == (every, every)
    assert tokens_run(model, tmp_path / "2.h5") == (every + shared, every + shared)
    found = tokens_run(model, tmp_path / "3.h5", scores=False)
    assert found == (upto + shared, upto + shared)
    # The prefix alone goes through a block behind the last hook.
    found = tokens_run(model, tmp_path / "4.h5", scores=False, hooks=out)
    assert found == (upto + shared, begin)
    found = tokens_run(
        model, tmp_path / "5.h5", scores=False, hooks=out, positions=["subject_last"]
    )
    assert found[0] == sum(plan.positions["subject_last"] + 1) + shared
    first, second = (open_recording(tmp_path / f"{i}.h5") for i in (1, 5))
    key = out, "subject_last"
    assert relative(second[key].numpy(), first[key].numpy()) < 1e-5


def test_facts_that_begin_unlike_share_little(model, tmp_path):
    facts = FactSet(places()[:3].facts + geonames(["P36"], limit=3).facts, "mixed")
    plan = make_plan(model.tokenizer, facts, POSITIONS, chunk_facts=6, batch_facts=2)
    assert model.tokenizer.decode(plan.beginning(range(6))) == "Q:"
    recording = record(model, facts, tmp_path / "a.h5", **SMALL)
    alone = record(model, facts[3:], tmp_path / "b.h5", **SMALL)
    key = "blocks.2.hook_out", "subject_last"
    assert relative(recording[key].numpy()[3:], alone[key].numpy()) < 1e-5


def test_weights_that_became_nan_are_refused(tmp_path):
    model = tiny_model()
    record(model, places()[:4], tmp_path / "0.h5")
    with torch.no_grad():
        model.network.get_submodule("model.layers.1.mlp.down_proj").weight.fill_(torch.nan)
    with pytest.raises(
        InputError, match=r"blocks.1.hook_out is NaN .* on row 0 \('Shanghai'"
    ):
        record(model, places()[:4], tmp_path / "1.h5")


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


def test_a_network_without_weights_is_refused(tmp_path):
    model = tiny_model()
    model.network.to("meta")
    with pytest.raises(InputError, match="it lies on the device 'meta'"):
        record(model, places(), tmp_path / "a.h5")


def test_what_does_not_run_does_not_count_as_too_long(tmp_path):
    model = tiny_model(max_position_embeddings=12)
    facts = FactSet((Fact("0" * 16, "Cairo", "P17", "Egypt" * 20),), "long")
    with pytest.raises(InputError, match="tiny-llama reads 12"):
        record(model, facts, tmp_path / "a.h5")
    record(model, facts, tmp_path / "b.h5", positions=["subject_last"], scores=False)
