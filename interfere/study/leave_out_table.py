"""Does leaving out the new facts that are blamed save more than leaving out random ones?"""

from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from interfere import cache
from interfere.interventions.leave_out import SCORES, BlameEffect, blame_effect, leave_out
from interfere.measures.statistics import Interval
from interfere.study.fresh import is_fresh
from interfere.study.left_out_runs import run_left_out
from interfere.study.new_fact_blame import BLAMERS, NEEDS_CONTROL
from interfere.study.preparation import Prepared, Say
from interfere.study.results import Runs
from interfere.study.study import Arm, plain_arm

Measure = Literal["net_loss", "nats"]

FILE = "leave_out.csv"
OUTCOMES = "leave_out.parquet"

QUANTITIES = (
    "all_new",
    "without_blamed",
    "without_random",
    "prevented",
    "beyond_random",
)
"""Of a `BlameEffect`, those with an interval."""


def leave_out_table(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write leave_out.csv and leave_out.parquet, unless they are there.

    They are made again where the results are newer, or where the study's leave_out section
    asks for other numbers of seeds, random sets or facts. The first plain arm that learns
    new facts is trained again, under as many seeds as that section says and for as many
    steps as in the study, without the share of new facts that a predictor blames most, by
    each of BLAMERS in turn, and without as many random ones. The random sets are the same
    for every predictor. Finished runs are kept in the cache.

    - leave_out.csv: see `effects`, for each predictor (column blame).
    - leave_out.parquet: blame, and the table that `blame_effect` takes: what every
      interval is made from.

    Args:
        prepared: the study's common start.
        runs: not read; the one with all new facts is found in the cache.
        folder: the study's results.
        say: is told in a line what goes on.

    Raises:
        InputError: too few new facts to leave any out, or runs that failed twice.
    """
    if all(is_fresh(folder / name) for name in (FILE, OUTCOMES)) and _as_asked(
        pd.read_csv(folder / FILE), prepared
    ):
        return
    arm = plain_arm(prepared.study)
    if arm is None:
        say("no plain arm learns new facts: nothing to leave out")
        return
    tables: list[pd.DataFrame] = []
    outcomes: list[pd.DataFrame] = []
    for name in BLAMERS:
        if name in NEEDS_CONTROL and not len(prepared.split.control):
            say(f"no control facts: none are left out by {name}")
            continue
        say(f"leaving out the new facts that {name} blames")
        found = left_out_by(prepared, arm, name, say)
        own = effects(found).assign(
            left_out=_count(prepared), new_facts=len(prepared.split.unknown)
        )
        for table, kept in ((own, tables), (found.copy(), outcomes)):
            table.insert(0, "arm", arm.name)
            table.insert(1, "blame", name)
            kept.append(table)
    with cache.whole_file(folder / OUTCOMES) as draft:
        pd.concat(outcomes, ignore_index=True).to_parquet(draft, index=False)
    with cache.whole_file(folder / FILE) as draft:
        pd.concat(tables, ignore_index=True).to_csv(draft, index=False)


def left_out_by(
    prepared: Prepared, arm: Arm, blamer: str, say: Say = lambda _: None
) -> pd.DataFrame:
    """Outcomes of the arm with all new facts, without the blamed and without random ones.

    Seeds, share of the facts and random sets are those of the study's leave_out section.
    Natural subjects are blamed alike under every seed, so their random sets are the
    same too: a set's own luck must not be averaged away on one side alone. The table that
    `blame_effect` takes.
    """
    left = {}
    asked = prepared.study.leave_out
    for seed in prepared.study.seeds[: asked.seeds]:
        left[seed] = leave_out(
            prepared.split_of(arm, seed),
            BLAMERS[blamer](prepared, arm.keys, seed),
            _count(prepared),
            draws=asked.draws,
            seed=0 if arm.keys == "natural" else seed,
        )
    return run_left_out(prepared, arm.name, left, say)


def effects(outcomes: pd.DataFrame) -> pd.DataFrame:
    """`blame_effect` by net loss and by nats, a row a measure and quantity.

    Columns: measure, quantity (see QUANTITIES and `BlameEffect`), value, low, high,
    seeds_low, seeds_high, smallest and null (as in `statistics.Interval`); p_value (of
    beyond_random); draws_low, draws_high: range over the draws of the mean without random
    facts, beside without_random: intervals take the draws as they are; draws, seeds, facts,
    answers.

    Args:
        outcomes: as `blame_effect` takes them, with the scores of both measures.

    Raises:
        InputError: as in `blame_effect`.
    """
    rows = []
    sizes = {
        "seeds": outcomes["seed"].nunique(),
        "facts": outcomes["fact"].nunique(),
        "answers": outcomes["answer"].nunique(),
    }
    for measure in get_args(Measure):
        found: BlameEffect = blame_effect(outcomes, measure)
        random = _of_draws(outcomes, measure)
        further = {
            "beyond_random": {"p_value": found.p_value},
            "without_random": {"draws_low": random.min(), "draws_high": random.max()},
        }
        for quantity in QUANTITIES:
            interval: Interval = getattr(found, quantity)
            row = {"measure": measure, "quantity": quantity} | asdict(interval)
            blank = dict.fromkeys(("p_value", "draws_low", "draws_high"), np.nan)
            rows.append(
                row | blank | further.get(quantity, {}) | {"draws": found.draws} | sizes
            )
    return pd.DataFrame(rows)


def _count(prepared: Prepared) -> int:
    return round(prepared.study.leave_out.share * len(prepared.split.unknown))


def _as_asked(table: pd.DataFrame, prepared: Prepared) -> bool:
    """Whether the table has the study's seeds, random sets and facts left out."""
    study = prepared.study
    seeds = min(study.leave_out.seeds, len(study.seeds))
    wanted = {"draws": study.leave_out.draws, "seeds": seeds, "left_out": _count(prepared)}
    return all((table[name] == value).all() for name, value in wanted.items())


def _of_draws(outcomes: pd.DataFrame, measure: Measure) -> np.ndarray:
    """Mean loss without each random set, over seeds and facts."""
    first, second = SCORES[measure]
    random = outcomes[outcomes["left_out"] == "random"]
    loss = random[first].astype(np.float64) - random[second].astype(np.float64)
    return loss.groupby(random["draw"]).mean().to_numpy()
