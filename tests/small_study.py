"""Studies on nano that are small enough for tests, each in a cache of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interfere.study.load import load_study
from interfere.study.study import Study

STUDY = """
model: nano
facts: {limit: 1200, exposures: [statements, never]}
categorise: {prompts: 2}
split: {known: 48, unknown: 48, held_out: 64, control: 24, seed: 0}
format: {epochs: 1}
train: {epochs: 2, learning_rate: 3.0e-4}
evaluate: {points: 1, early: [], drift_epochs: [], rank_among: 0}
record: {hooks: ["blocks.2.hook_out"], positions: [subject_last]}
interference: {rank: 4}
arms:
  - {name: SFT}
  - {name: Known only, rows: known}
seeds: [0]
"""


@contextmanager
def small_study(home: Path, *changes: str, text: str = STUDY) -> Iterator[Study]:
    """The study `small`, with `home` as cache while the block runs."""
    (home / "small.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERFERE_CACHE", str(home))
        yield load_study(str(home / "small.yaml"), list(changes))
