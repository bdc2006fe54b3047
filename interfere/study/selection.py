"""Settings chosen on validation facts, before anything is measured on test facts."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from interfere import cache
from interfere.facts.fact import FactSet
from interfere.interventions.repairs import named_repair
from interfere.measures.behaviour import crossing
from interfere.measures.frontier import frontier_area
from interfere.study.preparation import Prepared, Say
from interfere.study.results_folder import results_folder
from interfere.study.run import Job
from interfere.study.search import Outcome, Search, candidates
from interfere.study.study import Arm, Study
from interfere.training.names import named_mitigation

FILE = "choices.csv"

RunAll = Callable[[list[Job]], list[Path]]


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


def choose(
    prepared: Prepared, jobs: Callable[[Study], list[Job]], run: RunAll, say: Say
) -> Study:
    """The study with every sweep replaced by the setting that did best at equal learning.

    On validation facts, averaged over `select.seeds`: by loss, of what a candidate lost where
    its plasticity first reaches `select.level`; those that reach it under every seed come
    before those that don't, whose plasticity at the end counts instead. By area, under its
    frontier. Either way a setting that learns nothing is never chosen for losing nothing.

    Writes choices.csv to the results folder: a row a candidate that was tried; arm,
    settings (as text), plasticity (at the end), reached, net_loss (validation, at the
    level; NaN where not reached), area, chosen, at_end (settings of which this is the least or the
    largest value tried: one that is chosen there might do better beyond).

    Args:
        prepared: the study's common start.
        jobs: a study's runs that only choose.
        run: carries jobs out, in their order.
        say: is told of a setting that was chosen at an end of its list.
    """
    study = prepared.study
    select = study.select
    searches = [Search(arm, select.search, select.by) for arm in study.arms if arm.sweep]
    while wanted := [(one, place) for one in searches for place in one.wanted()]:
        arms = tuple(
            one.candidate(place).model_copy(update={"name": f"{one.arm.name} {i}"})
            for i, (one, place) in enumerate(wanted)
        )
        trial = {"arms": arms, "seeds": study.select.seeds}
        planned = jobs(study.model_copy(update=trial))
        sought = {arm.name: what for arm, what in zip(arms, wanted, strict=True)}
        for job, folder in zip(planned, run(planned), strict=True):
            one, place = sought[job.arm.name]
            repaired = job.arm.repair is not None
            found = _read(folder, study.select.level, repaired=repaired)
            one.found.setdefault(place, []).append(found)
    if searches:
        _write(searches, study.name)
    for one in searches:
        if ends := one.ends(one.best):
            say(
                f"{one.arm.name!r} chose {' and '.join(ends)} at an end of what was tried: "
                "values beyond might do better"
            )
    chosen = {one.arm.name: one.candidate(one.best) for one in searches}
    arms_now = tuple(_at_rate(chosen.get(arm.name, arm), chosen) for arm in study.arms)
    return study.model_copy(update={"arms": arms_now})


def _at_rate(arm: Arm, chosen: Mapping[str, Arm]) -> Arm:
    """The arm at the rate that the arm named by `rate_of` has chosen."""
    if arm.rate_of is None:
        return arm
    rate = chosen[arm.rate_of].learning_rate
    return arm.model_copy(update={"learning_rate": rate, "rate_of": None})


def _write(searches: list[Search], study: str) -> None:
    rows = []
    for one in searches:
        for place, found in sorted(one.found.items()):
            plasticity, losses, areas = zip(*found, strict=True)
            row = {
                "arm": one.arm.name,
                "settings": _said(one.candidate(place), one.arm.sweep),
                "plasticity": float(np.mean(plasticity)),
                "reached": not np.isnan(losses).any(),
                "net_loss": float(np.mean(losses)),
                "area": float(np.mean(areas)),
                "chosen": place == one.best,
                "at_end": ", ".join(one.ends(place)),
            }
            rows.append(row)
    folder = results_folder(study)
    folder.mkdir(parents=True, exist_ok=True)
    with cache.whole_file(folder / FILE) as draft:
        pd.DataFrame(rows).to_csv(draft, index=False)


def _read(folder: Path, level: float, *, repaired: bool = False) -> Outcome:
    """What a run came to.

    From the start to a repair's first evaluation no way is drawn, as in `outcomes.loss`.
    """
    facts = pd.read_parquet(folder / "facts.parquet", columns=["set", "step", "right"])
    curves = facts.pivot_table("right", "step", "set")
    learnt = curves["unknown"].to_numpy(np.float64)
    lost = curves["validation"].iloc[0] - curves["validation"].to_numpy(np.float64)
    first = int(repaired)
    there = crossing(learnt[first:], level)
    area = float(frontier_area(learnt, 1 - lost, repaired=repaired))
    return Outcome(float(learnt[-1]), float(there.of(lost[first:])), area)


def _said(arm: Arm, keys: dict[str, tuple[object, ...]]) -> str:
    values = {"learning_rate": arm.learning_rate, **arm.settings}
    return ", ".join(f"{key}={values[key]}" for key in keys)
