"""SIGKILL at random moments of a recording, most of them inside a write."""

import os
import random
import signal
import time

import h5py
import numpy as np
import pytest
from faults.conftest import SIZES, ended, fork, kill
from tiny_models import places

from interfere.activations import store
from interfere.activations.recorder import record
from interfere.activations.verifying import inspect_chunks

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("INTERFERE_KILLS", "60"))


def recording(model, path, budget=None):
    """Record in a forked process, which dies once it has written `budget` bytes."""

    def work():
        if budget is not None:
            real, left = os.pwrite, budget

            def pwrite(handle, data, offset):
                nonlocal left
                if len(data) > left:
                    real(handle, data[:left], offset)
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= len(data)
                return real(handle, data, offset)

            store.os.pwrite = pwrite
        record(model, places(), path, resume=True, **SIZES)

    return fork(work)


def torn(path, whole):
    """Unfinished chunks of which some bytes are there, not all; finished ones are equal."""
    found = 0
    with h5py.File(path, locking=False) as file, h5py.File(whole) as expected:
        done = file["chunks/done"][...].astype(bool)
        names = [n for n in _datasets(expected) if n.startswith(("blocks", "ln", "score"))]
        for chunk, finished in enumerate(done):
            rows = slice(chunk * SIZES["chunk_facts"], (chunk + 1) * SIZES["chunk_facts"])
            same = [np.array_equal(file[n][rows], expected[n][rows]) for n in names]
            if finished:
                assert all(same), f"finished chunk {chunk} was altered"
            found += not finished and any(file[n][rows].any() for n in names)
        return found


def _datasets(file):
    names = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return names


def test_nothing_finished_is_lost_and_the_end_is_the_same(model, whole, tmp_path, capsys):
    rng = random.Random(int(os.environ.get("INTERFERE_FAULT_SEED", "0")))
    kills = teared = files = finished = 0
    path = tmp_path / "a.h5"
    begin = time.perf_counter()
    assert ended(recording(model, path)) == 0
    seconds = time.perf_counter() - begin
    chunk = path.stat().st_size // 8
    path.unlink()
    while kills < KILLS:
        if rng.random() < 0.75:  # inside a write
            code = ended(recording(model, path, rng.randrange(1, 3 * chunk)))
        else:
            child = recording(model, path)
            time.sleep(rng.random() * seconds)
            code = kill(child)
        kills += code == -signal.SIGKILL
        if not path.exists():
            continue
        verdict = inspect_chunks(path)
        assert verdict.whole, verdict
        now = verdict.chunks - len(verdict.unfinished)
        assert now >= finished
        finished = now
        teared += torn(path, whole)
        if not verdict.unfinished:
            assert ended(recording(model, path)) == 0
            assert path.read_bytes() == whole.read_bytes()
            path.unlink()
            files, finished = files + 1, 0
    if path.exists():
        assert ended(recording(model, path)) == 0
        assert path.read_bytes() == whole.read_bytes()
        files += 1
    with capsys.disabled():
        print(f"\n{kills} kills left {teared} torn chunks; {files} files ended equal")
    assert teared > kills / 4
    assert files


def test_a_second_writer_is_refused_and_harms_nothing(model, whole, tmp_path):
    path = tmp_path / "a.h5"
    child = recording(model, path)
    while not path.exists():
        time.sleep(0.001)
    refused = ended(recording(model, path))
    assert ended(child) == 0
    assert refused == 1
    assert path.read_bytes() == whole.read_bytes()


def test_a_reader_never_sees_a_finished_chunk_with_wrong_bytes(model, whole, tmp_path):
    comparisons, path = 0, tmp_path / "a.h5"
    with h5py.File(whole) as file:
        names = [n for n in _datasets(file) if n.startswith(("blocks", "ln", "score"))]
        expected = {name: file[name][...] for name in names}

    def write():
        for _ in range(1000):
            record(model, places(), path, **SIZES)
            os.unlink(path)

    child = fork(write)
    try:
        while comparisons < 10_000:
            try:
                file = h5py.File(path, "r", locking=False)
            except FileNotFoundError:
                continue
            with file:
                for chunk in np.flatnonzero(file["chunks/done"][...]):
                    size = SIZES["chunk_facts"]
                    rows = slice(chunk * size, (chunk + 1) * size)
                    for name in names:
                        assert np.array_equal(file[name][rows], expected[name][rows]), name
                        comparisons += 1
    finally:
        kill(child)
