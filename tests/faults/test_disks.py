"""A disk that fills, and one that can't be written."""

import os
import subprocess
from contextlib import suppress

import pytest
from faults.conftest import SIZES
from tiny_models import places

from interfere.activations.gathering import Gathering
from interfere.activations.parts import join
from interfere.activations.recorder import record, record_part
from interfere.activations.verifying import inspect_chunks
from interfere.errors import InputError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes a superuser"),
]


@pytest.fixture
def disk(tmp_path, whole):
    """A disk on which the recording just does not fit beside what else is there."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = whole.stat().st_size * 5 // 4
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_what_is_finished(model, whole, disk, monkeypatch):
    path, filler = disk / "a.h5", disk / "filler"
    run, calls = Gathering.run, []

    def filling(self, chunk, advance):
        calls.append(1)
        if len(calls) == 4:  # another process takes all that is left
            file = filler.open("wb", buffering=0)
            with file, pytest.raises(OSError, match="space"):
                while file.write(b"x" * 4096):
                    pass
        return run(self, chunk, advance)

    monkeypatch.setattr(Gathering, "run", filling)
    with pytest.raises(InputError, match=r"a.h5: No space left .*; make room") as caught:
        record(model, places(), path, **SIZES)
    assert "\n" not in str(caught.value)
    verdict = inspect_chunks(path)
    assert verdict.whole
    # Chunk 2 was being written while chunk 3 ran.
    assert verdict.unfinished in ([2, 3, 4, 5, 6, 7], [3, 4, 5, 6, 7])
    filler.unlink()
    record(model, places(), path, resume=True, **SIZES)
    assert path.read_bytes() == whole.read_bytes()


def test_too_small_a_disk_is_refused_before_anything_runs(model, disk, monkeypatch):
    (disk / "filler").write_bytes(b"x" * (os.statvfs(disk).f_bavail * 4096 // 2))
    monkeypatch.setattr(Gathering, "run", None)
    with pytest.raises(InputError, match=r"a.h5 would take .*, but .* are free"):
        record(model, places(), disk / "a.h5", **SIZES)
    assert sorted(path.name for path in disk.iterdir()) == ["filler"]


def test_a_read_only_mount_is_one_line(model, whole, disk):
    path = disk / "a.h5"
    path.write_bytes(whole.read_bytes())
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(InputError, match=r"cannot write .*b.h5: Read-only file system"):
        record(model, places(), disk / "b.h5", **SIZES)
    assert record(model, places(), path, **SIZES).path == path  # finished: nothing to write


def test_parts_that_do_not_fit_are_joined_whole_or_not_at_all(model, whole, disk, tmp_path):
    parts = [
        record_part(model, places(), tmp_path / "a.h5", rank=r, ranks=2, **SIZES)
        for r in range(2)
    ]
    size, out, filler = whole.stat().st_size, disk / "joined.h5", disk / "filler"
    joined = []
    for short in range(-2, 12):  # pages too few
        filler.unlink(missing_ok=True)
        free = os.statvfs(disk).f_bavail * 4096
        filler.write_bytes(b"x" * max(0, free - size + short * 4096))
        before = len(joined)
        with suppress(InputError):
            joined.append(join(out, parts).path.read_bytes() == whole.read_bytes())
        assert out.exists() == (len(joined) > before)
        out.unlink(missing_ok=True)
    assert all(joined)
    assert 0 < len(joined) < 14
