"""The command line as a person meets it: one-line errors, exit status, speed of --help."""

import re
import subprocess
import sys

import pytest
import torch

from interfere.models.load import load_model

COMMANDS = (
    "reproduce",
    "figures",
    "categorise",
    "record",
    "train",
    "compare",
    "overlap",
    "pretrain",
    "repair",
    "cache",
)


def interfere(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "interfere.cli", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"} | environment,
        check=False,
    )


def one_line_error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("·")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_imports_nothing_heavy():
    code = (
        "import sys, interfere, interfere.cli; "
        "heavy = {'torch', 'transformers', 'pandas', 'sklearn', 'matplotlib', 'h5py'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_lists_every_command():
    text = interfere("--help").stdout
    for command in COMMANDS:
        # A line of its own: "record" is in the sentence above the commands, too.
        assert re.search(rf"^\W*{command}\s", text, re.MULTILINE), command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "nanp"], "did you mean nano"),
        (["reproduce", "nano", "--set", "trian.epochs=1"], "did you mean 'train'"),
        (["categorise", "nanoo", "geonames"], "nano"),
        (["categorise", "nano", "geonams"], "geonames"),
        (["record", "nano", "missing.csv", "out.h5"], "missing.csv"),
        (["compare", "missing.h5", "other.h5"], "missing.h5"),
        (["pretrain", "gpt"], "only nano"),
        (["reproduce", "nano", "--set", "seeds=[-1]"], "greater than or equal to 0"),
        (["categorise", "nano", "geonames", "--out", "x.xlsx"], ".csv or .parquet"),
        (["figures", "paper"], "run `interfere reproduce paper` first"),
        (["tables", "paper"], "run `interfere reproduce paper` first"),
        (["cache", "clean", "everything"], "no part 'everything'"),
        (
            ["train", "nano", "geonames", "--out", "x", "--mitigation", "self-distilation"],
            "did you mean self-distillation",
        ),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path):
    done = interfere(*arguments, INTERFERE_CACHE=str(tmp_path / "cache"))
    assert message in one_line_error(done)
    assert not (tmp_path / "out.h5").exists()


def test_pretraining_replaces_no_other_folder(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    done = interfere("pretrain", "nano", "--out", str(mine), "--epochs", "1")
    assert "is there already" in one_line_error(done)
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_a_cache_that_is_a_file_is_named(tmp_path):
    (tmp_path / "cache").write_text("")
    done = interfere("cache", INTERFERE_CACHE=str(tmp_path / "cache"))
    assert "INTERFERE_CACHE" in one_line_error(done)


def test_a_facts_file_without_the_named_column(tmp_path):
    (tmp_path / "mine.csv").write_text("city,country\nParis,France\n")
    done = interfere(
        "categorise",
        "nano",
        str(tmp_path / "mine.csv"),
        "--column",
        "subject=town",
        "--column",
        "answer=country",
        INTERFERE_CACHE=str(tmp_path / "cache"),
    )
    error = one_line_error(done)
    assert "town" in error
    assert "city" in error


def test_cache_lists_its_parts(tmp_path):
    done = interfere("cache", INTERFERE_CACHE=str(tmp_path))
    assert done.returncode == 0
    assert "downloads" in done.stdout


def test_a_dry_run_of_the_paper_loads_nothing(tmp_path):
    done = interfere("reproduce", "paper", "--dry-run", INTERFERE_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "memory a run" in done.stdout
    assert not (tmp_path / "models").exists()


def test_replayed_then_mended(tmp_path):
    """Fine-tuning with old facts of a file, and half of the way back from there."""
    new, old = tmp_path / "new.csv", tmp_path / "old.csv"
    new.write_text("subject,answer,question\nZub,France,Where is Zub?\n")
    old.write_text(
        "subject,answer,question\nParis,France,Where is Paris?\nZub,France,Where is Zub?\n"
    )
    given = {"INTERFERE_CACHE": str(tmp_path / "cache")}
    tuned, mended = str(tmp_path / "tuned"), str(tmp_path / "mended")
    options = ["--mitigation", "replay", "--epochs", "2", "--out", tuned]
    refused = interfere("train", "nano", str(new), *options, **given)
    assert "needs facts that the model knows" in one_line_error(refused)
    assert not (tmp_path / "tuned").exists()
    done = interfere("train", "nano", str(new), *options, "--old", str(old), **given)
    assert done.returncode == 0, done.stderr
    again = ["repair", "nano", tuned, "--out", mended, "--share", "0.5"]
    done = interfere(*again, **given)
    assert done.returncode == 0, done.stderr
    start, end, middle = (
        load_model(name).network.state_dict() for name in ("nano", tuned, mended)
    )
    for name, value in middle.items():
        torch.testing.assert_close(value, (start[name] + end[name]) / 2)
    assert "is there already" in one_line_error(interfere(*again, **given))
    looks = interfere(*again[:-4], "--out", "x", "--repair", "common-shift-out", **given)
    assert "give it some" in one_line_error(looks)
    shifts = ["--out", "x", "--repair", "common-shift-out", "--old", str(old)]
    looks = interfere(*again[:-4], *shifts, **given)
    assert "which no folder can hold" in one_line_error(looks)
