"""What stands in the file of a recording, and how it is read again."""

import h5py
import numpy as np
import pytest
from small_recordings import SMALL
from tiny_models import places

from interfere.activations.gathering import Gathering
from interfere.activations.recorder import record
from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet


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
