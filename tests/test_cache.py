import pytest

from interfere import cache
from interfere.errors import InputError


def test_environment_decides(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERFERE_CACHE", str(tmp_path / "mine"))
    assert cache.home() == tmp_path / "mine"


def test_a_file_in_the_way_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("INTERFERE_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        InputError, match=r"cannot write to the cache folder .*INTERFERE_CACHE"
    ):
        cache.home()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), cache.whole_file(target) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("old")
    with pytest.raises(RuntimeError), cache.whole_folder(target) as draft:
        (draft / "weights").write_text("half")
        raise RuntimeError
    assert (target / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_cleaning_leaves_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERFERE_CACHE", str(tmp_path))
    for part in ("downloads", "runs"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "x").write_bytes(b"x" * 1000)
    assert cache.clean() == pytest.approx(1000)
    assert (tmp_path / "downloads/x").exists()
    with pytest.raises(InputError, match="no part 'rnus'; there are downloads"):
        cache.clean("rnus")


def test_digest_names_equal_values_equally():
    assert cache.digest({"a": 1, "b": [2]}) == cache.digest({"b": [2], "a": 1})
    assert cache.digest({"a": 1}) != cache.digest({"a": 2})
