"""Carry out a study: prepare, run every arm under every seed, gather results."""

from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from interfere import cache
from interfere.errors import InputError
from interfere.models.hooks import resolve
from interfere.study.preparation import Prepared, prepare
from interfere.study.results import gather
from interfere.study.run import Job, execute
from interfere.study.selection import check_arm, choose
from interfere.study.study import Study, plain_control
from interfere.study.workers import threads_a_run, worker_count


def reproduce(study: Study, say: Callable[[str], None] = lambda _: None) -> Path:
    """Run what is not finished yet and write the results; returns the results' folder.

    Finished runs are never computed again; an interrupted study goes on where it was.

    Raises:
        InputError: bad configuration or facts, or runs that failed twice.
    """
    for arm in study.arms:
        check_arm(arm)
    prepared = prepare(study, say)
    check_measures(prepared)
    prepared = replace(prepared, study=_chosen(prepared, say))
    study = prepared.study
    jobs = plan(prepared)
    say(f"{len(jobs)} runs: {len(study.arms)} arms, {len(study.seeds)} seeds")
    workers = worker_count(study, len(jobs))
    folders = run_all(jobs, workers)
    say("measuring")
    return gather(prepared, list(zip(jobs, folders, strict=True)))


def _chosen(prepared: Prepared, say: Callable[[str], None]) -> Study:
    """The study with its sweeps decided."""

    def jobs(trial: Study) -> list[Job]:
        planned = plan(replace(prepared, study=trial))
        say(f"{len(planned)} runs to choose settings on validation facts")
        # A round of few runs must not train on more threads than one of many: to the last bit,
        # results depend on them.
        threads = threads_a_run(prepared.study)
        return [replace(job, selecting=True, threads=threads) for job in planned]

    def run(planned: list[Job]) -> list[Path]:
        return run_all(planned, worker_count(prepared.study, len(planned)))

    return choose(prepared, jobs, run, say)


def check_measures(prepared: Prepared) -> None:
    """Refuse, before anything is trained, what the measures could not be made from.

    Raises:
        InputError: the declared hook is not recorded, or too few facts for the rank.
    """
    study, split = prepared.study, prepared.split
    hooks = resolve(prepared.base.network, study.record.hooks)
    if prepared.hook not in hooks:
        raise InputError(
            f"study {study.name}: interference is read at {prepared.hook}, which "
            f"record.hooks leaves out; there are {', '.join(hooks)}"
        )
    if not any(arm.trains_new for arm in study.arms):
        return
    rank = study.interference.rank
    sets = {"unknown": len(split.unknown)}
    if any(plain_control(arm) for arm in study.arms):
        sets["HighlyKnown facts that no set uses"] = len(split.others)
    if len(split.control):
        sets["control"] = len(split.control)
        sets["half of held_out"] = len(split.held_out) // 2
    name, fewest = min(sets.items(), key=lambda item: item[1])
    if rank >= fewest:
        raise InputError(
            f"study {study.name}: interference.rank {rank} needs more than {rank} facts of "
            f"each kind, but {name}: {fewest}; lower the rank or change the split"
        )


def plan(prepared: Prepared) -> list[Job]:
    """The study's runs in the order in which they are started."""
    study = prepared.study
    held_out = prepared.split.held_out
    references = {
        "base": prepared.recording("held_out", held_out, of_base=True).path,
        "start": prepared.recording("held_out", held_out).path,
    }
    digest, candidates = prepared.start.digest, commonest_answers(prepared)
    threads = threads_a_run(study)
    return [
        Job(
            study=study,
            arm=arm,
            seed=seed,
            split=prepared.split_of(arm, seed),
            start=prepared.folder / "model",
            start_digest=digest,
            references=references,
            candidates=candidates,
            device=prepared.base.device.type,
            threads=threads,
            root=cache.home() / "runs",
        )
        for seed in study.seeds
        for arm in study.arms
    ]


def commonest_answers(prepared: Prepared) -> dict[str, tuple[str, ...]]:
    """By relation, the study's most frequent answers, most frequent first."""
    table = prepared.knowledge.facts.table
    size = prepared.study.evaluate.rank_among
    return {
        str(relation): tuple(answers.value_counts().index[:size])
        for relation, answers in table.groupby("relation", sort=False)["answer"]
        if size
    }


def run_all(jobs: list[Job], workers: int) -> list[Path]:
    """Every job's folder; what a broken pool left is run once more."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("runs", total=len(jobs))
        done: dict[int, Path] = {}
        for _attempt in range(2):
            left = [i for i in range(len(jobs)) if i not in done]
            try:
                for index, folder in _results(jobs, left, workers):
                    done[index] = folder
                    progress.update(bar, completed=len(done))
            except (BrokenProcessPool, TerminatedWorkerError):
                continue
            if len(done) == len(jobs):
                return [done[i] for i in range(len(jobs))]
    names = sorted({jobs[i].arm.name for i in range(len(jobs)) if i not in done})
    raise InputError(
        f"the processes of {', '.join(names)} died twice, as when memory runs out; "
        "set workers=1 and run the study again: finished runs are kept"
    )


def _results(jobs: list[Job], left: list[int], workers: int) -> Iterable[tuple[int, Path]]:
    pool = joblib.Parallel(
        n_jobs=workers, return_as="generator_unordered", pre_dispatch=workers
    )
    found: Iterable[tuple[int, Path]] = pool(
        joblib.delayed(_indexed)(i, jobs[i]) for i in left
    )
    return found


def _indexed(index: int, job: Job) -> tuple[int, Path]:
    return index, execute(job)
