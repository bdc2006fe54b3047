import os

import pytest

from interfere.errors import InputError
from interfere.study.fresh import is_fresh


def at(path, seconds):
    path.write_text("")
    os.utime(path, (seconds, seconds))


def test_stands_while_nothing_that_it_was_made_from_is_newer(tmp_path):
    at(tmp_path / "results.parquet", 100)
    target = tmp_path / "made.csv"
    assert not is_fresh(target)
    at(target, 99)
    assert not is_fresh(target)
    at(target, 100)
    assert is_fresh(target)
    assert is_fresh(target, "further.parquet")  # not there: doesn't count
    at(tmp_path / "further.parquet", 101)
    assert is_fresh(target)
    assert not is_fresh(target, "further.parquet")


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no results; run `interfere reproduce"):
        is_fresh(tmp_path / "made.csv")
