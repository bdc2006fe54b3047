import h5py
import numpy as np
import pytest
from tiny_models import places, tiny_model

from interfere.activations.contents import contents
from interfere.activations.packing import pack
from interfere.activations.recorder import record
from interfere.activations.recording import open_recording
from interfere.activations.verifying import inspect_chunks
from interfere.errors import InputError


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "a.h5"
    return record(tiny_model(), places(), path, hooks="*", chunk_facts=20)


def test_a_reader_gets_the_same(recording, tmp_path):
    packed = pack(recording.path, tmp_path / "packed.h5")
    assert packed.attributes == recording.attributes
    assert packed.prompts == recording.prompts
    for hook in recording.hooks:
        for position in recording.positions:
            a, b = recording[hook, position], packed[hook, position]
            assert np.array_equal(a.numpy(), b.numpy())
            assert np.array_equal(a[[9, 3, 9]], b[[9, 3, 9]])
            assert np.array_equal(a[-1], b[-1])
            assert np.array_equal(a[4:40:5], b[4:40:5])
    assert np.array_equal(recording.logprob, packed.logprob)


def test_damage_to_a_packed_file_is_found(recording, tmp_path):
    path = pack(recording.path, tmp_path / "packed.h5").path
    assert inspect_chunks(path).whole
    with h5py.File(path) as file:
        piece = file["blocks.1.hook_out/prompt_last"].id.get_chunk_info(0)
        at = file.userblock_size + piece.byte_offset + piece.size // 2
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data)
    assert not inspect_chunks(path).whole


def test_nothing_is_written_over(recording, tmp_path):
    with pytest.raises(InputError, match=r"a.h5 is there already"):
        pack(recording.path, recording.path)


def test_contents_name_what_is_there(recording):
    found = contents(recording.path)
    about = dict(found.about.itertuples(index=False))
    assert about["facts"] == "50"
    assert about["state"] == "finished"
    assert set(found.datasets["name"]) >= {
        "blocks.0.attn.hook_z/subject_last",
        "score/right",
    }
    assert open_recording(recording.path).positions


def test_damage_is_one_line_to_a_reader(recording, tmp_path):
    path = pack(recording.path, tmp_path / "packed.h5").path
    with h5py.File(path) as file:
        piece = file["blocks.1.hook_out/prompt_last"].id.get_chunk_info(0)
        at = file.userblock_size + piece.byte_offset + 8
    data = bytearray(path.read_bytes())
    data[at : at + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot read .*packed.h5"):
        open_recording(path)["blocks.1.hook_out", "prompt_last"].numpy()


def test_slices_of_every_kind_are_the_same(recording, tmp_path):
    packed = pack(recording.path, tmp_path / "packed.h5")
    key = "blocks.1.hook_out", "prompt_last"
    for rows in (slice(None, None, -1), np.array([True, False] * 25), [], slice(9, 3)):
        assert np.array_equal(recording[key][rows], packed[key][rows])
