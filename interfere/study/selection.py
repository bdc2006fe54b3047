"""Settings chosen on validation facts, before anything is measured on test facts."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from interfere import cache
from interfere.facts.fact import FactSet
from interfere.interventions.repairs import named_repair
from interfere.measures.behaviour import crossing
from interfere.study.preparation import Prepared
from interfere.study.results_folder import results_folder
from interfere.study.run import Job
from interfere.study.study import Arm, Study
from interfere.training.names import named_mitigation

FILE = "choices.csv"

RunAll = Callable[[list[Job]], list[Path]]


def candidates(arm: Arm) -> list[Arm]:
    """The arm under every combination of its sweep's values, named alike."""
    keys = list(arm.sweep)
    return [
        _with(arm, dict(zip(keys, values, strict=True)))
        for values in itertools.product(*(arm.sweep[key] for key in keys))
    ]


def check_arm(arm: Arm) -> None:
    """Refuse, before anything is trained, settings that the arm doesn't take.

    Raises:
        InputError: an unknown mitigation, repair or setting, or one out of range.
    """
    for one in candidates(arm):
        if one.repair is None:
            named_mitigation(one.mitigation, one.settings)
        else:
            named_repair(one.repair, one.settings, 1.0, FactSet((), "none"))


def choose(prepared: Prepared, jobs: Callable[[Study], list[Job]], run: RunAll) -> Study:
    """The study with every sweep replaced by the setting that lost least at equal learning.

    A candidate's net loss on validation facts is read where its plasticity first reaches
    `select.level`, averaged over `select.seeds`. Candidates that reach it under every seed
    come before those that don't, whose plasticity at the end counts instead: a setting
    that learns nothing is never chosen for losing nothing.

    Writes choices.csv to the results folder: a row a candidate; arm, settings (as text),
    plasticity (at the end), reached, net_loss (validation, at the level; NaN where not
    reached), chosen.

    Args:
        prepared: the study's common start.
        jobs: a study's runs that only choose.
        run: carries jobs out, in their order.
    """
    study = prepared.study
    swept = [arm for arm in study.arms if arm.sweep]
    if not swept:
        return study
    tried = {arm.name: candidates(arm) for arm in swept}
    flat = [
        one.model_copy(update={"name": f"{name} {i}"})
        for name, arms in tried.items()
        for i, one in enumerate(arms)
    ]
    trial = study.model_copy(update={"arms": tuple(flat), "seeds": study.select.seeds})
    planned = jobs(trial)
    folders = run(planned)
    results: dict[str, list[tuple[float, float]]] = {}
    for job, folder in zip(planned, folders, strict=True):
        found = _read(folder, study.select.level)
        results.setdefault(job.arm.name, []).append(found)
    rows, chosen = [], {}
    for name, arms in tried.items():
        scores = [_score(results[f"{name} {i}"]) for i in range(len(arms))]
        best = min(range(len(arms)), key=lambda i: (*scores[i], i))
        chosen[name] = arms[best]
        for i, arm in enumerate(arms):
            plasticity, losses = zip(*results[f"{name} {i}"], strict=True)
            reached = not np.isnan(losses).any()
            rows.append(
                {
                    "arm": name,
                    "settings": _said(arm, list(swept_keys(study, name))),
                    "plasticity": float(np.mean(plasticity)),
                    "reached": reached,
                    "net_loss": float(np.mean(losses)),
                    "chosen": i == best,
                }
            )
    folder = results_folder(study.name)
    folder.mkdir(parents=True, exist_ok=True)
    with cache.whole_file(folder / FILE) as draft:
        pd.DataFrame(rows).to_csv(draft, index=False)
    arms_now = tuple(chosen.get(arm.name, arm) for arm in study.arms)
    return study.model_copy(update={"arms": arms_now})


def swept_keys(study: Study, name: str) -> Iterator[str]:
    """What is tried of the arm."""
    return iter(next(arm.sweep for arm in study.arms if arm.name == name))


def _with(arm: Arm, values: dict[str, object]) -> Arm:
    own = dict(values)
    rate = own.pop("learning_rate", arm.learning_rate)
    return arm.model_copy(
        update={
            "settings": {**arm.settings, **own},
            "learning_rate": rate,
            "sweep": {},
        }
    )


def _read(folder: Path, level: float) -> tuple[float, float]:
    """Plasticity at the end, and net loss at the level; NaN where it isn't reached."""
    facts = pd.read_parquet(folder / "facts.parquet", columns=["set", "step", "right"])
    curves = facts.pivot_table("right", "step", "set")
    learnt, kept = curves["unknown"].to_numpy(), curves["validation"].to_numpy()
    there = crossing(learnt, level)
    return float(learnt[-1]), float(kept[0] - there.of(kept))


def _score(found: list[tuple[float, float]]) -> tuple[int, float]:
    plasticity, losses = zip(*found, strict=True)
    if np.isnan(losses).any():
        return 1, -float(np.mean(plasticity))
    return 0, float(np.mean(losses))


def _said(arm: Arm, keys: list[str]) -> str:
    values = {"learning_rate": arm.learning_rate, **arm.settings}
    return ", ".join(f"{key}={values[key]}" for key in keys)
