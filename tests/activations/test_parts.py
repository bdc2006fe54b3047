"""Several processes, one recording."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_models import places

from interfere.activations import store
from interfere.activations.packing import pack
from interfere.activations.parts import join
from interfere.activations.recorder import record, record_part
from interfere.activations.verifying import inspect_chunks
from interfere.errors import InputError

SIZES = {"chunk_facts": 10, "batch_facts": 5}


@pytest.fixture
def parts(model, tmp_path):
    file = tmp_path / "a.h5"
    return [record_part(model, places(), file, rank=r, ranks=2, **SIZES) for r in range(2)]


def test_joined_parts_are_the_file_of_one_process(model, parts, tmp_path):
    assert [part.name for part in parts] == ["a.part0of2.h5", "a.part1of2.h5"]
    whole = record(model, places(), tmp_path / "whole.h5", **SIZES)
    joined = join(tmp_path / "joined.h5", parts)
    assert joined.path.read_bytes() == whole.path.read_bytes()


def test_a_missing_rank_is_named(parts, tmp_path):
    with pytest.raises(InputError, match=r"chunk 1, 3 of 5: the share of rank 1 of 2"):
        join(tmp_path / "joined.h5", parts[:1])
    assert not (tmp_path / "joined.h5").exists()


def test_a_damaged_part_is_named(parts, tmp_path):
    with parts[1].open("r+b") as file:
        file.seek(-2000, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(InputError, match=r"a.part1of2.h5.*damaged"):
        join(tmp_path / "joined.h5", parts)


def test_parts_of_different_recordings_are_refused(model, parts, tmp_path):
    twin = model.copy()
    with torch.no_grad():
        next(twin.network.parameters()).mul_(2)
    other = record_part(twin, places(), tmp_path / "b.h5", rank=1, ranks=2, **SIZES)
    with pytest.raises(InputError, match=r"b.part1of2.h5 is part of another recording"):
        join(tmp_path / "joined.h5", [parts[0], other])


def test_a_rank_out_of_range(model, tmp_path):
    with pytest.raises(InputError, match="rank must be from 0 to 1, got 2"):
        record_part(model, places(), tmp_path / "a.h5", rank=2, ranks=2)


@pytest.mark.slow
def test_two_processes_of_torchrun(tmp_path):
    script = tmp_path / "run.py"
    script.write_text("from interfere.cli import run\nrun()\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}

    def call(*arguments):
        return subprocess.run(
            arguments, env=environment, capture_output=True, text=True, check=False
        )

    both = call(*torchrun, str(script), "record", "nano", "geonames", *_limited(tmp_path))
    assert both.returncode == 0, both.stderr
    interfere = [sys.executable, str(script)]
    parts = sorted(map(str, tmp_path.glob("a.part*.h5")))
    assert len(parts) == 2
    joined = call(*interfere, "join", str(tmp_path / "joined.h5"), *parts)
    assert joined.returncode == 0, joined.stderr
    alone = call(*interfere, "record", "nano", "geonames", *_limited(tmp_path, "one.h5"))
    assert alone.returncode == 0, alone.stderr
    assert (tmp_path / "joined.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


def _limited(folder, name="a.h5"):
    return [str(folder / name), "--relation", "P17", "--limit", "1500"]


def test_a_rank_is_named_where_the_file_has_no_ending(model, tmp_path):
    file = tmp_path / "before"
    part = record_part(model, places(), file, rank=0, ranks=2, **SIZES)
    with pytest.raises(InputError, match=r"the share of rank 1 of 2"):
        join(tmp_path / "joined", [part])


def test_a_finished_share_is_not_recorded_again(model, parts, tmp_path, monkeypatch):
    monkeypatch.setattr("interfere.activations.recorder._fill", None)
    again = record_part(model, places(), tmp_path / "a.h5", rank=1, ranks=2, **SIZES)
    assert again == parts[1]


def test_what_differs_is_named(model, parts, tmp_path):
    twin = replace(model.copy(), name="another")
    other = record_part(twin, places(), tmp_path / "b.h5", rank=1, ranks=2, **SIZES)
    with pytest.raises(InputError, match=r"b.part1of2.h5 .*: model differs; record all"):
        join(tmp_path / "joined.h5", [parts[0], other])


def test_a_packed_part_is_refused(model, tmp_path):
    whole = record(model, places(), tmp_path / "whole.h5", **SIZES)
    packed = pack(whole.path, tmp_path / "packed.h5")
    with pytest.raises(InputError, match=r"packed.h5 is packed; join the parts as"):
        join(tmp_path / "joined.h5", [packed.path])


def test_short_writes_are_gone_on_with(parts, tmp_path, model, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(store.os, "pwrite", lambda h, data, at: real(h, data[:1000], at))
    joined = join(tmp_path / "joined.h5", parts)
    assert inspect_chunks(joined.path).whole
