"""The README's notebook runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_notebook_runs_as_written(tmp_path, monkeypatch):
    text = (Path(__file__).parent.parent / "README.md").read_text()
    code = re.search(r"```python\n(import interfere\n.*?)```", text, re.DOTALL)[1]
    body, last = code.strip().rsplit("\n", 1)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(body, names)
    overlap = eval(last, names)
    assert len(overlap) == names["model"].layers
    assert (names["knowledge"].table["category"] == "HighlyKnown").sum() > 1000
    loss = names["change"].net_loss()["net_loss"].item()
    assert 0 <= loss < 0.5
    assert names["change"].drift()["drift"].between(0, 2).all()
    assert np.isfinite(overlap["overlap"]).all()
