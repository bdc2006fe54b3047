"""What distinguishes the runs of a study from each other, and which is the control."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interfere.study.run import Job
from interfere.study.study import plain_control
from interfere.training.names import named_mitigation

FACTORS = (
    "run",
    "arm",
    "mitigation",
    "strength",
    "learning_rate",
    "keys",
    "answers",
    "new_facts",
    "model",
    "seed",
    "split_seed",
    "set",
    "step",
    "epoch",
    "hook",
    "position",
)
"""Columns of results.parquet beside `metric` and `value`: one measurement a row."""

Runs = Sequence[tuple[Job, Path]]


def factors(job: Job, path: Path) -> dict[str, object]:
    """What distinguishes a run, as columns."""
    arm, study = job.arm, job.study
    new = len(job.split.unknown)
    mitigation = None if arm.repair else named_mitigation(arm.mitigation, arm.settings)
    return {
        "run": path.name,
        "arm": arm.name,
        "mitigation": arm.mitigation or arm.repair or "none",
        "strength": float(getattr(mitigation, "strength", None) or np.nan),
        "learning_rate": arm.learning_rate or study.train.learning_rate,
        "keys": arm.keys if new else "none",
        "answers": "natural",
        "new_facts": new,
        "model": study.model,
        "seed": job.seed,
        "split_seed": study.split.seed,
    }


def control_run(runs: Runs, seed: int) -> Path | None:
    """The Known-only control of this seed."""
    found = [path for job, path in runs if plain_control(job.arm) and job.seed == seed]
    return found[0] if found else None
