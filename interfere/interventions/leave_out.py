"""Leave out the new facts that are blamed most: does more of the old survive?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere.errors import InputError
from interfere.knowledge.splits import Split
from interfere.measures.statistics import Interval, difference_interval, mean_interval

OUTCOMES = ("left_out", "draw", "seed", "fact", "answer")
"""Columns of `blame_effect`'s table beside the scores: `left_out` is none, blamed or random."""

SCORES = {"net_loss": ("right_before", "right_after"), "nats": ("before", "after")}


@dataclass(frozen=True)
class LeftOut:
    """The same split with fewer new facts: to train from one start, for as many steps each."""

    blamed: Split
    """Without the facts that are blamed most."""
    random: tuple[Split, ...]
    """Without as many facts drawn at random, each from all new facts."""
    count: int


def leave_out(
    split: Split,
    blame: Mapping[str, float],
    count: int,
    *,
    draws: int = 9,
    like_answers: bool = False,
    seed: int = 0,
) -> LeftOut:
    """The splits to train on.

    Train each for as many optimizer steps as the split with all new facts: otherwise less
    is forgotten because less was trained.

    Args:
        split: with all new facts.
        blame: new fact's id → how much it is blamed, such as a row mean of the gradient
            kernel, or -`new_distance` of the new facts to the old ones. Among equals the
            first of the split goes.
        count: how many facts are left out.
        draws: random sets; the smallest p-value is 1 / (draws + 1).
        like_answers: draw as many facts of each answer as the blamed have, so that the
            comparison is of facts, not of answers.
        seed: of the draws.

    Raises:
        InputError: a new fact without a finite score, a count that leaves nothing out or
            nothing in, or no draws.
    """
    new = split.unknown
    scores = np.array([blame.get(fact.id, np.nan) for fact in new], dtype=np.float64)
    if not np.isfinite(scores).all():
        fact = new[int(np.argmin(np.isfinite(scores)))]
        raise InputError(
            f"the new fact {fact.id} ({fact.subject}) has no finite blame; score every "
            "new fact"
        )
    if not 1 <= count < len(new):
        raise InputError(
            f"count must be from 1 to {len(new) - 1}, all new facts but one; got {count}"
        )
    if draws < 1:
        raise InputError(f"draws must be 1 or more, got {draws}")
    worst = np.argsort(-scores, kind="stable")[:count]
    answers = np.array([fact.answer for fact in new])
    strata = answers if like_answers else np.zeros(len(new), dtype=int)
    generator = np.random.default_rng(seed)
    return LeftOut(
        blamed=_without(split, worst),
        random=tuple(
            _without(split, _like(worst, strata, generator)) for _ in range(draws)
        ),
        count=count,
    )


@dataclass(frozen=True)
class BlameEffect:
    """Loss of held-out facts, by what was left out; a share of facts, or nats a fact."""

    all_new: Interval
    """With all new facts."""
    without_blamed: Interval
    without_random: Interval
    """Mean over the draws."""
    prevented: Interval
    """all_new - without_blamed."""
    beyond_random: Interval
    """without_random - without_blamed; above 0: the blamed did more harm than others."""
    p_value: float
    """One-sided: share of the draws that prevented at least as much as the blamed did (they
    counted in). The intervals take blamed and random sets as given: they say whether these
    runs differ, and this whether other random sets would."""
    draws: int


def blame_effect(
    outcomes: pd.DataFrame, measure: Literal["net_loss", "nats"] = "net_loss"
) -> BlameEffect:
    """How much less was forgotten without the blamed facts than without random ones.

    Both sides are read on the same held-out facts with the same before-score, which
    cancels. Intervals average over seeds and resample answers. Where the blamed are the same
    under every seed, draw i must be too; where blame is found anew, it must be drawn anew:
    otherwise seeds average away the luck of one side's sets and not the other's, and p is
    too small.

    Args:
        outcomes: a row a run and held-out fact. left_out: none, blamed or random; draw:
            which random set, any number for the others; seed, fact, answer; and for
            "net_loss" right_before and right_after, for "nats" before and after
            (log-probabilities).
        measure: net loss (right before less right after) or the log-probability's fall.

    Raises:
        InputError: a column or kind of run that is not there, or runs that did not ask the
            same facts under the same seeds.
    """
    needed = (*OUTCOMES, *SCORES[measure])
    if missing := [name for name in needed if name not in outcomes.columns]:
        raise InputError(f"outcomes lack {missing[0]}; it is needed for {measure}")
    first, second = (outcomes[name].astype(np.float64) for name in SCORES[measure])
    rows = outcomes.assign(loss=first - second)
    runs = {str(name): own for name, own in rows.groupby("left_out", sort=False)}
    if lacking := [name for name in ("none", "blamed", "random") if name not in runs]:
        raise InputError(f"outcomes have no run with left_out {lacking[0]!r}")
    order = rows.drop_duplicates("fact")
    facts, seeds = order["fact"], np.sort(rows["seed"].unique())
    none, blamed = (_table(runs[name], seeds, facts) for name in ("none", "blamed"))
    draws = [_table(own, seeds, facts) for _, own in runs["random"].groupby("draw")]
    random = np.mean(draws, axis=0)
    answers = order["answer"].to_numpy()
    as_good = sum(float(draw.mean()) <= float(blamed.mean()) for draw in draws)
    return BlameEffect(
        all_new=mean_interval(none, answers),
        without_blamed=mean_interval(blamed, answers),
        without_random=mean_interval(random, answers),
        prevented=difference_interval(none, blamed, answers),
        beyond_random=difference_interval(random, blamed, answers),
        p_value=(1 + as_good) / (1 + len(draws)),
        draws=len(draws),
    )


def _like(
    chosen: np.ndarray, strata: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """As many places of each stratum as `chosen` has, drawn without replacement."""
    names, counts = np.unique(strata[chosen], return_counts=True)
    drawn = [
        generator.choice(np.flatnonzero(strata == name), size, replace=False)
        for name, size in zip(names, counts, strict=True)
    ]
    return np.concatenate(drawn)


def _without(split: Split, places: np.ndarray) -> Split:
    out = set(places.tolist())
    kept = tuple(fact for place, fact in enumerate(split.unknown) if place not in out)
    return replace(split, unknown=replace(split.unknown, facts=kept))


def _table(
    runs: pd.DataFrame, seeds: np.ndarray, facts: pd.Series
) -> Float64[np.ndarray, "seeds facts"]:
    wanted = pd.MultiIndex.from_product([seeds, facts])
    found = runs.set_index(["seed", "fact"])["loss"]
    if len(found) != len(wanted) or not found.index.isin(wanted).all():
        kind, draw = runs[["left_out", "draw"]].iloc[0]
        raise InputError(
            f"the runs with left_out {kind!r}, draw {draw}, hold {len(found)} outcomes, not "
            f"one for each of {len(facts)} facts under {len(seeds)} seeds"
        )
    return found.loc[wanted].to_numpy().reshape(len(seeds), len(facts))
