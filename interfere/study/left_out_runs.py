"""Run an arm again without some of its new facts, and collect what was forgotten."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from interfere.errors import InputError
from interfere.interventions.leave_out import LeftOut
from interfere.study.preparation import Prepared
from interfere.study.run import Job
from interfere.study.runner import plan, run_all
from interfere.study.workers import worker_count

Key = tuple[str, int, int]
"""left_out, draw, seed."""


def left_out_jobs(
    prepared: Prepared, arm: str, left: Mapping[int, LeftOut]
) -> dict[Key, Job]:
    """The runs, with that of all new facts among them; steps are the study's in each.

    Args:
        prepared: the study's common start.
        arm: one that trains new facts.
        left: by seed, what to leave out (`leave_out` of `prepared.split_of(arm, seed)`).

    Raises:
        InputError: no such arm, one that learns nothing new, or a seed that the study
            doesn't have.
    """
    full = {job.seed: job for job in plan(prepared) if job.arm.name == arm}
    if not full or not next(iter(full.values())).arm.trains_new:
        names = ", ".join(own.name for own in prepared.study.arms if own.trains_new)
        raise InputError(f"{arm!r} learns no new facts in this study; these do: {names}")
    jobs: dict[Key, Job] = {}
    for seed, sets in left.items():
        if seed not in full:
            raise InputError(f"the study has no seed {seed}; it has {sorted(full)}")
        job = full[seed]
        jobs["none", 0, seed] = job
        # Nothing reads the weights of the others.
        job = replace(job, study=job.study.model_copy(update={"keep_weights": False}))
        jobs["blamed", 0, seed] = replace(job, split=sets.blamed)
        for draw, split in enumerate(sets.random):
            jobs["random", draw, seed] = replace(job, split=split)
    return jobs


def run_left_out(
    prepared: Prepared,
    arm: str,
    left: Mapping[int, LeftOut],
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Train what is not finished yet; the table that `blame_effect` takes.

    Finished runs are kept in the cache, as a study's own are.

    Raises:
        InputError: as in `left_out_jobs`, or runs that failed twice.
    """
    jobs = left_out_jobs(prepared, arm, left)
    say(f"{len(jobs)} runs of {arm!r}")
    order = list(jobs.values())
    study = prepared.study
    # As many at once as in the study: each run has its threads by that.
    workers = worker_count(study, len(study.arms) * len(study.seeds))
    folders = run_all(order, workers)
    tables = [
        _outcomes(folder).assign(left_out=name, draw=draw, seed=seed)
        for (name, draw, seed), folder in zip(jobs, folders, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def _outcomes(folder: Path) -> pd.DataFrame:
    asked = pd.read_parquet(folder / "facts.parquet")
    held = asked[asked["set"] == "held_out"]
    first = held[held["step"] == held["step"].min()]
    last = held[held["step"] == held["step"].max()]
    table = first[["fact", "answer", "right", "logprob"]].merge(
        last[["fact", "right", "logprob"]], on="fact", suffixes=("_before", "_after")
    )
    return table.rename(columns={"logprob_before": "before", "logprob_after": "after"})
