"""What each arm keeps at what it learns, and what that takes: tables of the comparison."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere import cache
from interfere.errors import InputError
from interfere.measures.frontier import frontier_area
from interfere.study.headline import LEVELS, control_arm, loss_columns, read
from interfere.study.outcomes import loss, of_arms, seeds_of
from interfere.study.selection import FILE as CHOICES
from interfere.study.study import Arm, plain_sft

RESAMPLES = 1_000


@dataclass(frozen=True)
class Curves:
    """An arm's outcomes by seed and evaluation; facts of one answer are drawn together."""

    steps: np.ndarray
    new: Float64[np.ndarray, "seeds steps new"]
    old: Float64[np.ndarray, "seeds steps old"]
    new_answers: np.ndarray
    old_answers: np.ndarray

    def means(
        self, weights: Float64[np.ndarray, "draws answers"], names: list[str]
    ) -> tuple[Float64[np.ndarray, "seeds draws steps"], ...]:
        """Plasticity and what is kept, under weights of the answers."""
        place = {name: i for i, name in enumerate(names)}
        found = []
        for right, answers in ((self.new, self.new_answers), (self.old, self.old_answers)):
            own = weights[:, [place[answer] for answer in answers]]
            total = own.sum(1)[:, None]
            found.append(np.einsum("stf,df->sdt", right, own) / np.maximum(total, 1e-12))
        return found[0], 1 - (found[1][..., :1] - found[1])


def curves(facts: pd.DataFrame, arm: str) -> Curves:
    """From the study's facts.parquet.

    Raises:
        InputError: no such arm.
    """
    sides: dict[str, list[np.ndarray]] = {"unknown": [], "held_out": []}
    answers, steps = {}, np.empty(0)
    for seed in seeds_of(facts, arm):
        run = facts[(facts["arm"] == arm) & (facts["seed"] == seed)]
        for name, found in sides.items():
            table = run[run["set"] == name]
            wide = table.pivot_table("right", "step", "fact")
            steps = wide.index.to_numpy()
            own = table.drop_duplicates("fact").set_index("fact")["answer"]
            # synthetic subjects are other facts under each seed, in the answers' order
            order = own.sort_values(kind="stable")
            answers[name] = order.to_numpy()
            found.append(wide[order.index].to_numpy(dtype=np.float64))
    return Curves(
        steps,
        np.stack(sides["unknown"]),
        np.stack(sides["held_out"]),
        answers["unknown"],
        answers["held_out"],
    )


def frontier(study: Path) -> pd.DataFrame:
    """A row an arm that learns new facts and evaluation, seeds averaged.

    Columns arm, mitigation (or repair; "none"), plain (the arm that others are compared
    with), step, plasticity, kept (1 - net loss), each of the two with `…_low` and `…_high`
    (95 %, answers resampled).
    """
    arms = {arm.name: arm for arm in read(study)[0].arms}
    rows: list[pd.DataFrame] = []
    for arm, found, draws, names in _learning(study):
        whole = found.means(np.ones((1, len(names))), names)
        drawn = found.means(draws, names)
        columns: dict[str, object] = {
            "arm": arm,
            "mitigation": _kind(arms[arm]),
            "plain": not rows and plain_sft(arms[arm]),
            "step": found.steps,
        }
        for name, value, many in zip(("plasticity", "kept"), whole, drawn, strict=True):
            columns[name] = value.mean(0)[0]
            ends = np.percentile(many.mean(0), [2.5, 97.5], axis=0)
            columns |= {f"{name}_low": ends[0], f"{name}_high": ends[1]}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def comparison(study: Path) -> pd.DataFrame:
    """A row an arm: area under the frontier, net losses at matched plasticity, cost.

    Columns arm, mitigation, settings, learning_rate, chosen (what a sweep decided, as text),
    area with `…_low`, `…_high`, `…_seeds_low`, `…_seeds_high`; area_gain (over plain SFT,
    likewise with ends, paired); net_loss_<level> and net_loss_<level>_beyond (less the
    control's) as in headline.csv; plasticity (at the end); and by run cost_rows,
    cost_teacher_rows, cost_measured_rows, cost_asked_rows, cost_seconds, `forwards` (all of
    these rows, a row forward and backward counting three, relative to plain SFT's) and
    relative_seconds.
    """
    configuration, results, facts = read(study)
    control = control_arm(configuration)
    arms = {arm.name: arm for arm in configuration.arms}
    costs = results[results["metric"].str.startswith("cost_")]
    costs = costs.pivot_table(index="arm", columns="metric", values="value")
    chosen = _chosen(study)
    rows, plain = [], None
    for name, found, draws, names in _learning(study):
        arm = arms[name]
        repaired = arm.repair is not None
        each = _areas(found, np.ones((1, len(names))), names, repaired)[:, 0]
        drawn = _areas(found, draws, names, repaired).mean(0)
        row: dict[str, object] = {
            "arm": name,
            "mitigation": _kind(arm),
            "settings": ", ".join(f"{k}={v}" for k, v in arm.settings.items()),
            "learning_rate": arm.learning_rate or configuration.train.learning_rate,
            "chosen": chosen.get(name, ""),
            "plasticity": found.means(np.ones((1, len(names))), names)[0].mean(0)[0, -1],
            "area": each.mean(),
            **_ends("area", drawn),
            "area_seeds_low": each.min(),
            "area_seeds_high": each.max(),
        }
        if plain is None and row["mitigation"] == "none":
            plain = each.mean(), drawn
        if plain is not None:
            row |= {"area_gain": each.mean() - plain[0]}
            row |= _ends("area_gain", drawn - plain[1])
        own = of_arms(facts, name, control)
        for level in LEVELS:
            at = loss(own, name, level, control=control, repaired=bool(arm.repair))
            row |= loss_columns(f"net_loss_{level}", at)
        rows.append(row | (dict(costs.loc[name]) if name in costs.index else {}))
    table = pd.DataFrame(rows)
    if "cost_rows" in table:
        forwards = forward_passes(table)
        base = table["mitigation"] == "none"
        seconds = table["cost_seconds"]
        table["forwards"] = forwards / forwards[base].iloc[0] if base.any() else np.nan
        table["relative_seconds"] = (
            seconds / seconds[base].iloc[0] if base.any() else np.nan
        )
    return table


def forward_passes(costs: pd.DataFrame) -> pd.Series:
    """Of rows: one that goes forward and backward is three, one that is asked is one.

    Takes the columns of `training.cost.Cost` under the names that results have (`cost_rows`).
    """
    trained = 3 * (costs["cost_rows"] + costs["cost_measured_rows"])
    return trained + costs["cost_teacher_rows"] + costs["cost_asked_rows"]


def write_comparison(study: Path) -> pd.DataFrame:
    """The comparison, also written as comparison.csv beside frontier.csv."""
    tables = {"frontier": frontier(study), "comparison": comparison(study)}
    for name, table in tables.items():
        with cache.whole_file(study / f"{name}.csv") as draft:
            table.to_csv(draft, index=False)
    return tables["comparison"]


def read_frontier(study: Path) -> pd.DataFrame:
    """What `write_comparison` wrote of the frontier.

    Raises:
        InputError: it isn't there.
    """
    return _read(study / "frontier.csv")


def read_comparison(study: Path) -> pd.DataFrame:
    """What `write_comparison` wrote of the comparison.

    Raises:
        InputError: it isn't there.
    """
    table = _read(study / "comparison.csv")
    # Where no arm has any, the file's column reads as numbers.
    texts = ["settings", "chosen"]
    return table.assign(**table[texts].astype(object).fillna(""))


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise InputError(
            f"{path} is not there: `interfere reproduce {path.parent.name}` makes it"
        )
    return pd.read_csv(path)


def _kind(arm: Arm) -> str:
    return arm.mitigation or arm.repair or "none"


def _chosen(study: Path) -> dict[str, str]:
    if not (study / CHOICES).exists():
        return {}
    table = pd.read_csv(study / CHOICES)
    table = table[table["chosen"]]
    return dict(zip(table["arm"], table["settings"], strict=True))


def _learning(
    study: Path,
) -> Iterator[tuple[str, Curves, Float64[np.ndarray, "draws answers"], list[str]]]:
    """Arms that learn new facts, plain SFT first, each under the same draws of answers."""
    configuration, _, facts = read(study)
    arms = [arm for arm in configuration.arms if arm.trains_new]
    arms.sort(key=lambda arm: arm.mitigation is not None or arm.repair is not None)
    for arm in arms:
        found = curves(of_arms(facts, arm.name), arm.name)
        names = sorted({*found.new_answers, *found.old_answers})
        random = np.random.default_rng(0)
        draws = random.multinomial(
            len(names), np.full(len(names), 1 / len(names)), RESAMPLES
        )
        yield arm.name, found, draws.astype(np.float64), names


def _areas(
    found: Curves,
    weights: Float64[np.ndarray, "draws answers"],
    names: list[str],
    repaired: bool,
) -> Float64[np.ndarray, "seeds draws"]:
    return frontier_area(*found.means(weights, names), repaired=repaired)


def _ends(name: str, draws: Float64[np.ndarray, " draws"]) -> dict[str, float]:
    low, high = np.percentile(draws, [2.5, 97.5])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}
