"""Only the tokens run that something kept needs, and this changes no row."""

from pathlib import Path

import pytest
import torch
from small_recordings import SMALL, relative
from tiny_models import places, tiny_model

from interfere.activations.plan import POSITIONS, make_plan
from interfere.activations.recorder import record
from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.facts.geonames import geonames
from interfere.models.model import Model


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


def test_what_does_not_run_does_not_count_as_too_long(tmp_path):
    model = tiny_model(max_position_embeddings=12)
    facts = FactSet((Fact("0" * 16, "Cairo", "P17", "Egypt" * 20),), "long")
    with pytest.raises(InputError, match="tiny-llama reads 12"):
        record(model, facts, tmp_path / "a.h5")
    record(model, facts, tmp_path / "b.h5", positions=["subject_last"], scores=False)
