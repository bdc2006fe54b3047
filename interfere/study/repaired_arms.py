"""What brings a study's old answers back with few old data or none."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere import cache
from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.halves import like
from interfere.interventions.recovery import Recovery, recovery
from interfere.interventions.remove_direction import remove_directions
from interfere.measures.statistics import Interval, mean_interval, pooled_interval
from interfere.measures.unpaired import unpaired_interval
from interfere.models.answering import ask
from interfere.models.model import Model
from interfere.study.factors import Runs
from interfere.study.fresh import is_fresh
from interfere.study.kept_models import kept_models, looked_into, weights_are_kept
from interfere.study.mechanism_rows import ordered, row
from interfere.study.preparation import Prepared, Say
from interfere.study.study import Arm

FILE = "repairs.csv"

Which = Literal["top", "random"]

NEVER = 200
"""Facts that nothing taught, asked what can be guessed."""


def repairs(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write repairs.csv, unless it is as new as the results.

    A row an arm (plain SFT, and self-distillation on the same keys), repair and measure;
    columns seeds, facts, measure, value, low, high (95 %, answers resampled, seeds
    averaged), seeds_low, seeds_high, smallest.

    - repair "top direction out", "random direction out" (`remove_directions`, one of each
      matrix): stability and plasticity, the shares of held-out and of new facts that are
      right then, less those of the arm as it is.
    - repair "reminder" (`recovery`, one halving a seed): of the forgotten facts, those
      right after a brief training on the other half (recovered), on as many kept ones
      (control), beyond_control; gain and control_gain of their log-probability, nats. Of up
      to NEVER facts that were never known, those right after the same trainings: guessed,
      beyond_guessed (left out where there are none). learnt: of the facts trained on, those
      right then; well below 1, the reminder was too short to tell anything. Facts are those
      that each seed forgot; seeds and facts count those that are averaged, since a seed that
      forgot too few has none.

    Args:
        prepared: the study's common start.
        runs: jobs and their folders; without kept weights nothing is written.
        folder: the study's results.
        say: is told in a line what goes on.
    """
    study = prepared.study
    if is_fresh(folder / FILE) or not weights_are_kept(study, "repairs", say):
        return
    rows = []
    for name in looked_into(study):
        say(f"repairing {name!r}: directions out of its weights, a reminder")
        arm = next(arm for arm in study.arms if arm.name == name)
        found = [
            *_removals(prepared, arm, _by_seed(prepared, runs, name)),
            *_reminders(prepared, arm, _by_seed(prepared, runs, name), say),
        ]
        rows += [{"arm": name} | one for one in found]
    if rows:
        table = ordered(rows, ["arm", "repair", "seeds", "facts"]).drop(columns="position")
        with cache.whole_file(folder / FILE) as draft:
            table.to_csv(draft, index=False)


def _by_seed(prepared: Prepared, runs: Runs, arm: str) -> Iterator[tuple[int, Model]]:
    """The tuned model under each seed, with the seed."""
    return zip(prepared.study.seeds, kept_models(prepared, runs, arm), strict=True)


def _removals(
    prepared: Prepared, arm: Arm, models: Iterator[tuple[int, Model]]
) -> Iterator[dict[str, object]]:
    old = prepared.split.held_out
    changes: dict[tuple[Which, str], list[np.ndarray]] = {}
    for seed, tuned in models:
        sets = {"stability": old, "plasticity": prepared.new_facts(arm.keys, seed)}
        plain = {measure: _right(tuned, facts) for measure, facts in sets.items()}
        for which in get_args(Which):
            model = remove_directions(prepared.start, tuned, which=which, seed=seed).model
            for measure, facts in sets.items():
                moved = _right(model, facts) - plain[measure]
                changes.setdefault((which, measure), []).append(moved)
    # A key has its fact's answer, whatever the seed called its subject.
    answers = {"stability": _answers(old), "plasticity": _answers(prepared.split.unknown)}
    for (which, measure), seeds in changes.items():
        found = mean_interval(np.stack(seeds), answers[measure])
        sizes = {"seeds": len(seeds), "facts": len(answers[measure])}
        yield {"repair": f"{which} direction out"} | sizes | row(measure, found)


def _reminders(
    prepared: Prepared, arm: Arm, models: Iterator[tuple[int, Model]], say: Say
) -> Iterator[dict[str, object]]:
    train, found = prepared.study.train, list[Recovery]()
    never = never_known(prepared)
    for seed, tuned in models:
        try:
            found.append(
                recovery(
                    prepared.start,
                    tuned,
                    prepared.split.held_out,
                    never=never,
                    halvings=1,
                    learning_rate=arm.learning_rate or train.learning_rate,
                    batch_size=train.batch_size,
                    seed=seed,
                )
            )
        except InputError as reason:
            say(f"no reminder under seed {seed}: {reason}")
    if not found:
        return
    sizes = {"seeds": len(found), "facts": sum(one.forgotten for one in found)}
    guesses = sizes | {"facts": sum(len(one.guesses) for one in found)}
    for measure, interval in _over_seeds(found):
        counted = guesses if measure == "guessed" else sizes
        yield {"repair": "reminder"} | counted | row(measure, interval)
    each = [one.learnt for one in found]
    learnt = {"value": np.mean(each), "seeds_low": min(each), "seeds_high": max(each)}
    yield {"repair": "reminder", "measure": "learnt"} | sizes | learnt


def never_known(prepared: Prepared) -> FactSet:
    """Strictly Unknown facts that no set of the split uses, at most NEVER.

    Of the held-out facts' answers as far as there are such: what is guessed goes by the
    answer.
    """
    table, split = prepared.knowledge.table, prepared.split
    strict = set(table.loc[table["strict"].astype(bool), "id"])
    every, used = prepared.knowledge.facts, set(split.unknown.ids)
    pool = every.select(id_ for id_ in every.ids if id_ in strict and id_ not in used)
    random = np.random.default_rng(0)
    size = min(NEVER, len(pool), len(split.held_out))
    drawn = np.sort(random.permutation(len(split.held_out))[:size])
    return like(
        split.held_out.select(split.held_out[int(i)].id for i in drawn), pool, random
    )


def _over_seeds(found: list[Recovery]) -> Iterator[tuple[str, Interval]]:
    """Seeds forgot different facts: facts of all are averaged."""
    outcomes = pd.concat(one.outcomes.assign(seed=i) for i, one in enumerate(found))
    right, control = (outcomes[name].astype(float) for name in ("right", "control_right"))
    start = outcomes["logprob_after"]
    values = {
        "recovered": right,
        "control": control,
        "beyond_control": right - control,
        "gain": outcomes["logprob"] - start,
        "control_gain": outcomes["control_logprob"] - start,
    }
    for measure, own in values.items():
        yield (
            measure,
            pooled_interval(own.to_numpy(), outcomes["answer"], outcomes["seed"]),
        )
    guesses = pd.concat(one.guesses.assign(seed=i) for i, one in enumerate(found))
    if guesses.empty:
        return
    sides = [
        (table["right"].to_numpy(float), table["answer"].tolist(), table["seed"])
        for table in (outcomes, guesses)
    ]
    (a, a_answers, a_seeds), (b, b_answers, b_seeds) = sides
    yield "guessed", pooled_interval(b, b_answers, b_seeds)
    each = pd.Series(a).groupby(a_seeds.to_numpy()).mean()
    each -= pd.Series(b).groupby(b_seeds.to_numpy()).mean()
    beyond = unpaired_interval(a[None], a_answers, b[None], b_answers)
    yield (
        "beyond_guessed",
        replace(beyond, seeds_low=float(each.min()), seeds_high=float(each.max())),
    )


def _right(model: Model, facts: FactSet) -> Float64[np.ndarray, " facts"]:
    return ask(model, facts, sampling=False).right.astype(float)


def _answers(facts: FactSet) -> list[str]:
    return [fact.answer for fact in facts]
