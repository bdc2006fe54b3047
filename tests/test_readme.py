"""The README's notebook runs as it stands, and with real weights."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

SMALLER = {
    '"nano")': '"smollm2-135m")',
    "limit=5000": "limit=600",
    "known=400, unknown=400, held_out=400, control=200": (
        "known=40, unknown=20, held_out=60, control=30"
    ),
}
"""What makes the notebook one for real weights: their name, and smaller numbers."""


def notebook() -> str:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    return re.search(r"```python\n(import interfere\n.*?)```", text, re.DOTALL)[1]


def run(code: str, folder: Path, monkeypatch) -> dict[str, object]:
    monkeypatch.chdir(folder)
    body, last = code.strip().rsplit("\n", 1)
    names: dict[str, object] = {}
    exec(body, names)
    return names | {"overlap": eval(last, names)}


def check(names: dict[str, object]) -> None:
    assert len(names["overlap"]) == names["model"].layers
    assert 0 <= names["change"].net_loss()["net_loss"].item() < 0.5
    assert names["change"].drift()["drift"].between(0, 2).all()


def reading() -> str:
    text = (Path(__file__).parent.parent / "docs" / "recordings.md").read_text()
    return re.search(r"```python\n(import h5py\n.*?)```", text, re.DOTALL)[1]


def measuring() -> str:
    text = (Path(__file__).parent.parent / "docs" / "measures.md").read_text()
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def test_notebook_runs_as_written(tmp_path, monkeypatch):
    names = run(notebook(), tmp_path, monkeypatch)
    check(names)
    read: dict[str, object] = {}
    exec(reading(), read)  # the notebook's before.h5, in plain h5py
    before = names["before"]
    whole = before["blocks.2.hook_out", "subject_last"].numpy()
    assert np.array_equal(read["activations"], whole)
    assert list(read["subjects"]) == list(before.table["subject"])
    assert np.array_equal(read["right"], before.right)
    third = read["tokens"][read["offsets"][3] : read["offsets"][4]]
    assert np.array_equal(third, before.tokens[3])
    assert (names["knowledge"].table["category"] == "HighlyKnown").sum() > 1000
    assert np.isfinite(names["overlap"]["overlap"]).all()
    exec(measuring(), names)  # docs/measures.md goes on from the notebook
    assert len(names["patched"].table()) == 2 * names["model"].layers


@pytest.mark.skipif(
    "INTERFERE_LONG" not in os.environ, reason="takes ten minutes; set INTERFERE_LONG=1"
)
def test_notebook_runs_on_real_weights(tmp_path, monkeypatch):
    code = notebook()
    for nano, real in SMALLER.items():
        assert code.count(nano) == 1
        code = code.replace(nano, real)
    check(run(code, tmp_path, monkeypatch))
