"""The headline table of a study: what each arm learnt, and what it cost."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interfere import cache
from interfere.measures.statistics import Interval, difference_interval
from interfere.study.accuracy_intervals import accuracy_intervals
from interfere.study.end_outcomes import end_change, learnt
from interfere.study.mechanism_rows import seeds_mean
from interfere.study.outcomes import (
    Level,
    Loss,
    Measured,
    forgetting,
    loss,
    net_loss_ratio,
    of_arms,
    seeds_of,
)
from interfere.study.study import Study, plain_control, plain_sft

LEVELS: tuple[Level, ...] = (0.5, 0.9, "end")
CONTRAST_COLUMNS = [
    "more",
    "less",
    "level",
    "reached",
    "difference",
    "low",
    "high",
    "seeds_low",
    "seeds_high",
    "smallest",
    "shows",
    "ratio",
    "ratio_low",
    "ratio_high",
]


def read(study: Path) -> tuple[Study, pd.DataFrame, pd.DataFrame]:
    """A results folder's study, results and facts."""
    configuration = Study.model_validate_json((study / "study.json").read_text())
    return (
        configuration,
        pd.read_parquet(study / "results.parquet"),
        pd.read_parquet(study / "facts.parquet"),
    )


def control_arm(study: Study) -> str | None:
    """The Known-only control's name."""
    names = [arm.name for arm in study.arms if plain_control(arm)]
    return names[0] if names else None


def losses(
    study: Study, facts: pd.DataFrame, measured: Measured = "held_out"
) -> dict[tuple[str, Level], Loss]:
    """Every arm's loss at every level; the control only at the end."""
    control = control_arm(study)
    found: dict[tuple[str, Level], Loss] = {}
    for arm in study.arms:
        own = of_arms(facts, arm.name, control)
        levels: tuple[Level, ...] = LEVELS if arm.trains_new else ("end",)
        for level in levels:
            found[arm.name, level] = loss(
                own,
                arm.name,
                level,
                control=None if arm.name == control else control,
                measured=measured,
                repaired=arm.repair is not None,
            )
    return found


def headline(study: Path) -> pd.DataFrame:
    """A row an arm: accuracies at the end, and net loss at each level with its interval.

    Columns `task`, `plasticity`, `plasticity_paraphrase`, `stability` (accuracies, each
    with `…_low`, `…_high`); `behavioural_interference`, `interference_size`,
    `interference_direction` likewise, value and ends of the last two being the means of
    the seeds' own (NaN where one seed's is); `forgetting` (the paper's),
    `net_loss_<level>` and `net_loss_<level>_beyond` (minus the control's), each with
    `…_low`, `…_high`, `…_seeds` and `…_smallest`: the smallest difference from 0 that
    the study could have shown. Where validation facts are asked,
    `validation_net_loss_…` likewise: what settings are chosen by.
    """
    configuration, results, facts = read(study)
    sets: list[tuple[str, Measured]] = [("", "held_out")]
    if configuration.split.validation and "validation" in configuration.evaluate.sets:
        sets.append(("validation_", "validation"))
    found = {name: losses(configuration, facts, measured) for name, measured in sets}
    control = control_arm(configuration)
    accuracy = accuracy_intervals(facts, at_end=True).set_index(["arm", "metric"])
    rows = []
    for arm in configuration.arms:
        row: dict[str, object] = {"arm": arm.name, "seeds": len(seeds_of(facts, arm.name))}
        own = results[results["arm"] == arm.name]
        for metric in ("task", "plasticity", "plasticity_paraphrase", "stability"):
            row |= _ends(metric, accuracy.reindex([(arm.name, metric)]).iloc[0])
        run = of_arms(facts, arm.name, control)
        row |= _interval("forgetting", forgetting(run, arm.name))
        row |= _ends("behavioural_interference", _behavioural(run, arm.name, control))
        for name in ("interference_size", "interference_direction"):
            row |= _ends(name, next(iter(seeds_mean(own, name)), None))
        for prefix, by_level in found.items():
            for level in LEVELS:
                name = f"{prefix}net_loss_{level}"
                row |= loss_columns(name, by_level.get((arm.name, level)))
        rows.append(row)
    return pd.DataFrame(rows)


def _behavioural(
    facts: pd.DataFrame, arm: str, control: str | None
) -> dict[str, float] | None:
    """Fall of old answers' log-probability (nats) beyond the control's."""
    if control is None or learnt(facts, arm) is None:
        return None
    held = facts[(facts["arm"] == arm) & (facts["set"] == "held_out")]
    held = held.drop_duplicates("fact")
    ids = held["fact"].tolist()
    own, beside = (end_change(facts, name, "logprob", ids) for name in (arm, control))
    fall = difference_interval(own[0] - own[1], beside[0] - beside[1], held["answer"])
    return asdict(fall)


def _ends(name: str, found: Mapping[str, Any] | pd.Series | None) -> dict[str, float]:
    """A number and its ends as columns; NaN where there is none."""
    parts = {"": "value", "_low": "low", "_high": "high"}
    return {
        name + end: np.nan if found is None else found[part] for end, part in parts.items()
    }


def loss_columns(name: str, found: Loss | None) -> dict[str, object]:
    """A loss and what is beyond the control's as columns, and whether it was reached."""
    if found is None or not found.reached:
        return {name: np.nan, f"{name}_reached": False if found is not None else None}
    row: dict[str, object] = {f"{name}_reached": True}
    pairs = ((name, found.interval), (f"{name}_beyond", found.beyond_control))
    for prefix, interval in pairs:
        if interval is not None:
            row |= _interval(prefix, interval)
    return row


def _interval(prefix: str, interval: Interval) -> dict[str, object]:
    return {
        prefix: interval.value,
        f"{prefix}_low": interval.low,
        f"{prefix}_high": interval.high,
        f"{prefix}_smallest": interval.smallest,
        f"{prefix}_seeds": f"{interval.seeds_low:.3f} to {interval.seeds_high:.3f}",
    }


def contrasts(
    study: Path, pairs: Iterable[tuple[str, str]], levels: Iterable[Level] = LEVELS
) -> pd.DataFrame:
    """Difference of net loss between two arms at matched plasticity, and the ratio.

    Columns: `CONTRAST_COLUMNS`. The ratio is of the two net losses beyond the control's; NaN
    where the lesser one's interval contains 0.
    """
    configuration, _, facts = read(study)
    control = control_arm(configuration)
    repaired = {arm.name: arm.repair is not None for arm in configuration.arms}
    rows = []
    for more, less in pairs:
        both = of_arms(facts, more, less, control)
        for level in levels:
            a, b = (
                loss(both, name, level, control=control, repaired=repaired.get(name, False))
                for name in (more, less)
            )
            row: dict[str, object] = {"more": more, "less": less, "level": str(level)}
            row["reached"] = a.reached and b.reached
            rows.append(row | (_contrast(a, b) if row["reached"] else {}))
    return pd.DataFrame(rows, columns=CONTRAST_COLUMNS)


def _contrast(more: Loss, less: Loss) -> dict[str, object]:
    found = difference_interval(more.net, less.net, more.clusters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a ratio to nothing is NaN in the table
        ratio = net_loss_ratio(more, less)
    return {
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "seeds_low": found.seeds_low,
        "seeds_high": found.seeds_high,
        "smallest": found.smallest,
        "shows": found.shows,
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
    }


def main_pairs(study: Study) -> list[tuple[str, str]]:
    """What the paper compares, and what the study sets against each other.

    SFT with each mitigation on the same keys, two kinds of keys, and each arm with those
    that it is `against`.
    """
    # Of several plain arms with the same keys the first one counts.
    plain = {arm.keys: arm.name for arm in reversed(study.arms) if plain_sft(arm)}
    pairs = [
        (plain[arm.keys], arm.name)
        for arm in study.arms
        if arm.trains_new and (arm.mitigation or arm.repair) and arm.keys in plain
    ]
    pairs += [
        (plain["semantic"], plain[other])
        for other in ("hex", "uuid")
        if "semantic" in plain and other in plain
    ]
    pairs += [(other, arm.name) for arm in study.arms for other in arm.against]
    return list(dict.fromkeys(pairs))


def read_contrasts(study: Path) -> pd.DataFrame:
    """The contrasts that a results folder holds, made where it holds none."""
    file = study / "contrasts.csv"
    if file.is_file() and file.read_text().strip():
        return pd.read_csv(file)
    return contrasts(study, main_pairs(read(study)[0]))


def read_headline(study: Path) -> pd.DataFrame:
    """The headline that a results folder holds, made where it holds none."""
    file = study / "headline.csv"
    return pd.read_csv(file) if file.is_file() else headline(study)


def write_headline(study: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Headline and contrasts of a results folder, also written there as CSV."""
    configuration, _, _ = read(study)
    tables = headline(study), contrasts(study, main_pairs(configuration))
    for name, table in zip(("headline", "contrasts"), tables, strict=True):
        with cache.whole_file(study / f"{name}.csv") as draft:
            table.to_csv(draft, index=False)
    return tables
