"""The headline table of a study: what each arm learnt, and what it cost."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from interfere import cache
from interfere.measures.statistics import Interval, difference_interval
from interfere.study.outcomes import Level, Loss, loss, seeds_of
from interfere.study.study import Arm, Study, plain_control

LEVELS: tuple[Level, ...] = (0.5, 0.9, "end")


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


def losses(study: Study, facts: pd.DataFrame) -> dict[tuple[str, Level], Loss]:
    """Every arm's loss at every level; the control only at the end."""
    control = control_arm(study)
    return {
        (arm.name, level): loss(
            facts, arm.name, level, control=None if arm.name == control else control
        )
        for arm in study.arms
        for level in (("end",) if not arm.trains_new else LEVELS)
    }


def headline(study: Path) -> pd.DataFrame:
    """A row an arm: accuracies at the end, and net loss at each level with its interval.

    Columns `net_loss_<level>`, `…_low`, `…_high`, `…_beyond` (minus the control's),
    `…_beyond_low`, `…_beyond_high`, `…_smallest`: the smallest difference from 0 that
    the study could have shown.
    """
    configuration, results, facts = read(study)
    found = losses(configuration, facts)
    rows = []
    for arm in configuration.arms:
        row: dict[str, object] = {"arm": arm.name, "seeds": len(seeds_of(facts, arm.name))}
        own = results[results["arm"] == arm.name]
        for metric in (
            "task",
            "plasticity",
            "plasticity_paraphrase",
            "stability",
            "forgetting",
        ):
            row[metric] = _at_end(own, metric)
        for name in (
            "behavioural_interference",
            "interference_size",
            "interference_direction",
        ):
            row[name] = own.loc[own["metric"] == name, "value"].mean()
        for level in LEVELS:
            row |= _columns(level, found.get((arm.name, level)))
        rows.append(row)
    return pd.DataFrame(rows)


def _at_end(own: pd.DataFrame, metric: str) -> float:
    rows = own[own["metric"] == metric]
    return float(rows.loc[rows["step"] == rows["step"].max(), "value"].mean())


def _columns(level: Level, found: Loss | None) -> dict[str, object]:
    name = f"net_loss_{level}"
    if found is None or not found.reached:
        return {name: np.nan, f"{name}_reached": False if found is not None else None}
    row: dict[str, object] = {f"{name}_reached": True}
    pairs = ((name, found.interval), (f"{name}_beyond", found.beyond_control))
    for prefix, interval in pairs:
        if interval is not None:
            row |= {
                prefix: interval.value,
                f"{prefix}_low": interval.low,
                f"{prefix}_high": interval.high,
                f"{prefix}_smallest": interval.smallest,
                f"{prefix}_seeds": f"{interval.seeds_low:.3f} to {interval.seeds_high:.3f}",
            }
    return row


def contrasts(
    study: Path, pairs: Iterable[tuple[str, str]], levels: Iterable[Level] = LEVELS
) -> pd.DataFrame:
    """Difference of net loss between two arms at matched plasticity, and the ratio.

    Columns: more, less, level, reached, difference, low, high, smallest, shows, ratio.
    The ratio is of the two net losses as they are; NaN where the lesser one is not above 0.
    """
    configuration, _, facts = read(study)
    control = control_arm(configuration)
    rows = []
    for more, less in pairs:
        for level in levels:
            a = loss(facts, more, level, control=control)
            b = loss(facts, less, level, control=control)
            row: dict[str, object] = {"more": more, "less": less, "level": str(level)}
            if not (a.reached and b.reached):
                rows.append(row | {"reached": False})
                continue
            found: Interval = difference_interval(a.net, b.net, a.clusters)
            rows.append(
                row
                | {
                    "reached": True,
                    "difference": found.value,
                    "low": found.low,
                    "high": found.high,
                    "seeds_low": found.seeds_low,
                    "seeds_high": found.seeds_high,
                    "smallest": found.smallest,
                    "shows": found.shows,
                    "ratio": float(a.net.mean() / b.net.mean())
                    if b.net.mean() > 0
                    else np.nan,
                }
            )
    return pd.DataFrame(rows)


def main_pairs(study: Study) -> list[tuple[str, str]]:
    """What the paper compares: SFT with each mitigation on the same keys, and two kinds of keys."""
    # Of several plain arms with the same keys the first one counts.
    plain = {arm.keys: arm.name for arm in reversed(study.arms) if _plain(arm)}
    pairs = [
        (plain[arm.keys], arm.name)
        for arm in study.arms
        if arm.trains_new and arm.mitigation is not None and arm.keys in plain
    ]
    return pairs + [
        (plain["semantic"], plain[other])
        for other in ("hex", "uuid")
        if "semantic" in plain and other in plain
    ]


def _plain(arm: Arm) -> bool:
    return arm.trains_new and arm.mitigation is None


def write_headline(study: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Headline and contrasts of a results folder, also written there as CSV."""
    configuration, _, _ = read(study)
    tables = headline(study), contrasts(study, main_pairs(configuration))
    for name, table in zip(("headline", "contrasts"), tables, strict=True):
        with cache.whole_file(study / f"{name}.csv") as draft:
            table.to_csv(draft, index=False)
    return tables
