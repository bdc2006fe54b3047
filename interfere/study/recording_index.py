"""Which recordings a study made, and where they lie."""

from pathlib import Path

import pandas as pd

from interfere.study.factors import Runs
from interfere.study.new_recordings import new_keys, new_recording
from interfere.study.preparation import Prepared


def recording_index(prepared: Prepared, runs: Runs, folder: Path) -> pd.DataFrame:
    """Where the recordings lie, relative to the results' folder."""
    start, split = "format checkpoint", prepared.split
    held_out = prepared.recording("held_out", split.held_out)
    rows = [(start, -1, "held_out", "before", held_out.path)]
    if len(split.control):
        control = prepared.recording("control", split.control)
        rows.append((start, -1, "control", "before", control.path))
    seed = prepared.study.seeds[0]
    for keys in new_keys(prepared):
        new = new_recording(prepared, keys, seed)
        rows.append((start, seed, keys, "before", new.path))
    for job, path in runs:
        after = path / "held_out-after.h5"
        rows.append((job.arm.name, job.seed, "held_out", "after", after))
    root = folder.parent.parent.resolve()
    return pd.DataFrame(
        [(*row, path.resolve().relative_to(root)) for *row, path in rows],
        columns=["arm", "seed", "set", "when", "path"],
    )
