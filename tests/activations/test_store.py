"""Interruptions, other writers, other recordings, and files that are something else."""

import os
import resource
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from small_recordings import SMALL
from tiny_models import places

from interfere.activations import layout, recording, seal, store
from interfere.activations.gathering import Gathering
from interfere.activations.layout import texts
from interfere.activations.lock import only_writer
from interfere.activations.recorder import record
from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.facts import questions
from interfere.facts.fact import FactSet


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    return record(
        model, places(), tmp_path_factory.mktemp("whole") / "whole.h5", **SMALL
    ).path


@pytest.fixture
def half(model, tmp_path, monkeypatch):
    """A recording interrupted in its second chunk."""
    path, run, calls = tmp_path / "half.h5", Gathering.run, []

    def interrupted(self, chunk, advance):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(self, chunk, advance)

    with monkeypatch.context() as patch:
        patch.setattr(Gathering, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            record(model, places(), path, **SMALL)
    return path


def contents(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.setdefault(name, item))
        values = {
            n: i[...].tobytes() for n, i in found.items() if isinstance(i, h5py.Dataset)
        }
        return values, dict(file.attrs)


def test_resumed_equals_uninterrupted(model, whole, half, monkeypatch):
    run, rows = Gathering.run, []

    def watched(self, chunk, advance):
        rows.append(chunk)
        return run(self, chunk, advance)

    monkeypatch.setattr(Gathering, "run", watched)
    record(model, places(), half, resume=True, **SMALL)
    assert rows == [range(20, 40), range(40, 50)]
    assert contents(half) == contents(whole)


def test_unfinished_is_not_read_nor_written_over(model, half):
    with pytest.raises(
        InputError, match=r"half.h5: recording stopped after 1 of 3 chunks; go on"
    ):
        open_recording(half)
    with pytest.raises(InputError, match=r"half.h5 holds an unfinished .* resume=True"):
        record(model, places(), half, **SMALL)


def test_a_damaged_finished_chunk_is_recorded_again(model, whole, half):
    with h5py.File(half, "r+") as file:
        file["blocks.1.hook_out/subject_last"][3, 5] += 1
    record(model, places(), half, resume=True, **SMALL)
    assert contents(half) == contents(whole)


def test_nothing_is_left_beside_the_file(model, tmp_path):
    record(model, places()[:3], tmp_path / "new" / "a.h5")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.h5"]


def test_another_recording_is_refused_with_what_differs(model, whole, tmp_path):
    twin = model.copy()
    with torch.no_grad():
        next(twin.network.parameters()).mul_(2)
    cases = [
        (twin, places(), SMALL, r"weights '\w{16}' there and '\w{16}' here"),
        (model, places()[:40], SMALL, r"facts '\w{16}' there and '\w{16}' here"),
        (model, places(), {**SMALL, "batch_facts": 9}, r"batch_plan '20 .* 9 a batch"),
        (
            model,
            places(),
            {**SMALL, "hooks": "*.1.hook_*"},
            r"hooks differ in blocks.0.hook_out",
        ),
        (
            model,
            places(),
            {**SMALL, "positions": "prompt_last"},
            r"positions differ in answer",
        ),
    ]
    for resume in (False, True):
        for other, facts, arguments, message in cases:
            path = shutil.copy(whole, tmp_path / "whole.h5")
            with pytest.raises(
                InputError, match=rf"whole.h5 is another recording: .*{message}"
            ):
                record(other, facts, path, resume=resume, **arguments)
            assert contents(path) == contents(whole)


def test_other_prompts_are_refused(model, half, monkeypatch):
    monkeypatch.setitem(questions.TEMPLATES, "P17", "Where is [X] located?")
    with pytest.raises(
        InputError, match=r"prompt 0 is 'Q: Which .* there and 'Q: Where .* here"
    ):
        record(model, places(), half, resume=True, **SMALL)


def test_other_threads_would_move_last_bits(model, half):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(
            InputError, match=rf"threads {threads} there and {threads + 1} here"
        ):
            record(model, places(), half, resume=True, **SMALL)
    finally:
        torch.set_num_threads(threads)


def test_a_second_writer_is_refused(model, whole, half):
    before = contents(half)
    with only_writer(half):
        with pytest.raises(
            InputError, match=r"half.h5 is being written by another process"
        ):
            record(model, places(), half, resume=True, **SMALL)
        assert contents(half) == before
    record(model, places(), half, resume=True, **SMALL)
    assert contents(half) == contents(whole)


def test_a_reader_may_read_while_a_chunk_is_written(model, half, monkeypatch):
    run = Gathering.run

    def read_first(self, chunk, advance):
        with h5py.File(half) as file:
            assert file["chunks/done"][0]
        return run(self, chunk, advance)

    monkeypatch.setattr(Gathering, "run", read_first)
    assert record(model, places(), half, resume=True, **SMALL).attributes["complete"]


def test_too_small_a_disk_is_seen_first(model, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: usage._replace(free=2**16))
    with pytest.raises(InputError, match=r"a.h5 would take 0.2 MiB, but 0.1 MiB are free"):
        record(model, places(), tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk():
    """Files end at 64 KiB, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_while_the_file_is_made(model, tmp_path, small_disk):
    with pytest.raises(InputError, match=r"cannot write .*a.h5: .*; make room") as caught:
        record(model, places(), tmp_path / "a.h5")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_while_recording_keeps_what_is_done(
    model, whole, half, small_disk
):
    with pytest.raises(
        InputError, match=r"cannot write .*half.h5: .*; what is finished"
    ) as error:
        record(model, places(), half, resume=True, **SMALL)
    assert "\n" not in str(error.value)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    record(model, places(), half, resume=True, **SMALL)
    assert contents(half) == contents(whole)


def test_what_is_no_recording(whole, tmp_path, model):
    path = tmp_path / "a.h5"
    with pytest.raises(InputError, match=r"a.h5: there is no such file"):
        open_recording(path)
    path.write_text("not HDF5")
    with pytest.raises(InputError, match=r"a.h5 is not a recording: it is no HDF5 file"):
        record(model, places(), path)
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(InputError, match=r"a.h5 is not a recording: its format"):
        open_recording(path)


def test_a_newer_format_is_refused_by_name(model, tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    with monkeypatch.context() as patch:
        for module in (layout, store, recording):
            patch.setattr(module, "VERSION", 99)
        record(model, places()[:3], path)
    with pytest.raises(InputError, match=r"a.h5 has version 99 .* reads up to 2; update"):
        open_recording(path)


def test_an_older_format_is_read(model, whole, tmp_path):
    """Version 1 had no block before HDF5's own first byte."""
    path, block = tmp_path / "a.h5", seal.check(whole, 2).block
    path.write_bytes(whole.read_bytes()[block:])
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1
    old, new = open_recording(path), open_recording(whole)
    key = "blocks.1.hook_out", "prompt_last"
    assert np.array_equal(old[key], new[key])
    assert np.array_equal(old[key][[7, 2]], new[key][[7, 2]])
    assert old.prompts == new.prompts


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("tokens/ids", "damaged outside the activations"),
        ("prompts", "damaged outside the activations"),
        (0, "no HDF5 file, or a damaged one"),
        (70, "its first block is damaged"),
        (-1, "damaged outside the activations"),
    ],
)
def test_damage_to_what_is_fixed_is_noticed(whole, tmp_path, at, message):
    path = shutil.copy(whole, tmp_path / "a.h5")
    if isinstance(at, str):
        with h5py.File(path) as file:
            at = file[at].id.get_offset() + 2
    damaged = bytearray(path.read_bytes())
    damaged[at] ^= 64
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=rf"a.h5.*{message}"):
        open_recording(path)


def test_a_file_cut_off_is_noticed(whole, tmp_path):
    path = shutil.copy(whole, tmp_path / "a.h5")
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(InputError, match=r"a.h5 is cut off: .* bytes; restore it"):
        open_recording(path)


def test_awkward_texts_come_back(model, tmp_path):
    fact = replace(places()[0], subject="Łódź \t “é” 東京", answer="日本, o'clock")
    recording = record(model, FactSet((fact, places()[1]), "x"), tmp_path / "a.h5")
    assert list(recording.table["subject"]) == [fact.subject, places()[1].subject]
    assert recording.table["answer"][0] == fact.answer


def test_another_attention_is_not_mixed_in(model, half):
    twin = model.copy()
    twin.network.set_attn_implementation("eager")
    with pytest.raises(InputError, match=r"attention 'sdpa' there and 'eager' here"):
        record(twin, places(), half, resume=True, **SMALL)


def test_a_file_replaced_while_a_recording_is_held_is_noticed(model, whole, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(whole.read_bytes())
    held = open_recording(path)
    rows = held["blocks.1.hook_out", "prompt_last"]
    half = model.copy()
    half.network.to(torch.bfloat16)
    record(half, places(), tmp_path / "b.h5", **SMALL)
    os.replace(tmp_path / "b.h5", path)
    for read in (
        rows.numpy,
        lambda: rows[[3]],
        lambda: held["blocks.1.hook_out", "prompt_last"],
    ):
        with pytest.raises(InputError, match=r"a.h5 has changed since it was opened"):
            read()
    path.unlink()
    with pytest.raises(InputError, match=r"cannot read .*a.h5: No such file"):
        rows.numpy()


def test_what_another_writer_left_meanwhile_is_looked_at(model, tmp_path, monkeypatch):
    path, other, lock = tmp_path / "a.h5", model.copy(), store.only_writer
    with torch.no_grad():
        next(other.network.parameters()).mul_(2)

    def overtaken(path):
        with monkeypatch.context() as patch:
            patch.setattr(store, "only_writer", lock)
            record(other, places(), path, **SMALL)
        return lock(path)

    monkeypatch.setattr(store, "only_writer", overtaken)
    with pytest.raises(InputError, match=r"a.h5 is another recording: weights"):
        record(model, places(), path, **SMALL)


def test_texts_that_would_not_come_back_are_refused(model, tmp_path):
    with pytest.raises(InputError, match="ends in a zero byte"):
        texts(["end\0"])
    with pytest.raises(InputError, match="no text that UTF-8 can hold"):
        texts(["\ud800"])


def test_a_folder_is_no_file(model, tmp_path):
    with pytest.raises(InputError, match="is a folder; name a file"):
        record(model, places(), tmp_path, **SMALL)
