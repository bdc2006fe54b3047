"""Files with bytes flipped or cut off: noticed, never a traceback or a signal."""

import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from faults.conftest import ended, fork

from interfere.activations.recording import open_recording
from interfere.activations.verifying import inspect_chunks, verify
from interfere.errors import InputError

pytestmark = pytest.mark.slow

FILES = int(os.environ.get("INTERFERE_DAMAGED_FILES", "300"))
UNNOTICED = 3


def damage(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, most often few and in what HDF5 itself reads, or an end cut off."""
    if rng.random() < 0.15:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    places = range(len(data)) if rng.random() < 0.5 else range(min(20_000, len(data)))
    for at in rng.choices(places, k=rng.choice([1, 1, 1, 2, 8, 64])):
        changed[at] ^= rng.randrange(1, 256)
    return bytes(changed)


def returned(path) -> dict[str, bytes]:
    """All that a reader gives."""
    recording = open_recording(path)
    found = {
        f"{hook} {position}": np.ascontiguousarray(
            recording[hook, position].numpy()
        ).tobytes()
        for hook in recording.hooks
        for position in recording.positions
    }
    found |= {p: recording.at(p).tobytes() for p in recording.positions}
    found["logprob"], found["right"] = (
        recording.logprob.tobytes(),
        recording.right.tobytes(),
    )
    found["tokens"] = b"|".join(ids.tobytes() for ids in recording.tokens)
    found["table"] = recording.table.to_csv().encode()
    found["prompts"] = "\n".join(recording.prompts).encode()
    found["attributes"] = repr(sorted(recording.attributes.items())).encode()
    return found


def test_no_damage_goes_unnoticed_or_ends_in_a_crash(whole, tmp_path, capsys):
    rng = random.Random(int(os.environ.get("INTERFERE_FAULT_SEED", "0")))
    data, expected = whole.read_bytes(), returned(whole)
    path, refused, damaged = tmp_path / "a.h5", 0, 0
    for number in range(FILES):
        path.write_bytes(damage(data, rng))

        def work():
            verdict = inspect_chunks(path)
            try:
                same = returned(path) == expected
            except InputError as error:
                noticed = not verdict.whole and "\n" not in str(error)
                os._exit(10 if noticed else UNNOTICED)
            os._exit(11 if not verdict.whole else 12 if same else UNNOTICED)

        code = ended(fork(work))
        assert code in (10, 11, 12), f"file {number}: {code}"
        refused, damaged = refused + (code == 10), damaged + (code == 11)
    with capsys.disabled():
        print(
            f"\n{FILES} damaged files: {refused} not opened, {damaged} found by verify, "
            f"{FILES - refused - damaged} with nothing that a reader gives changed"
        )
    assert refused
    assert damaged


def test_verify_names_the_chunk(whole, tmp_path):
    path = shutil.copy(whole, tmp_path / "a.h5")
    assert verify(path).whole
    activations = open_recording(path)["blocks.1.hook_out", "prompt_last"]
    with path.open("r+b") as file:
        file.seek(activations.offset + 8 * activations[0].nbytes)  # of the second chunk
        file.write(b"!")
    assert verify(path).damaged == [1]
    command = [sys.executable, "-m", "interfere.cli", "verify", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert "chunk 1" in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr
