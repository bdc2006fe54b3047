"""Erased or misread? Train briefly on half of the forgotten facts, ask the other half."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.halves import By, halve, like
from interfere.knowledge.splits import Split
from interfere.measures.statistics import Interval, difference_interval, mean_interval
from interfere.measures.unpaired import unpaired_interval
from interfere.models.answering import ask
from interfere.models.model import Model
from interfere.training.train import train

LEAST = 8
"""Forgotten facts: fewer leave halves that say nothing."""


@dataclass(frozen=True)
class Recovery:
    """What came back without being trained on. Shares in [0, 1], gains in nats a fact."""

    forgotten: int
    """Facts right before and wrong after."""
    recovered: Interval
    """Of the forgotten, those that are right after training on the other half."""
    control: Interval
    """The same after training on as many facts that were not forgotten."""
    beyond_control: Interval
    """recovered - control."""
    guessed: Interval | None
    """Of facts that were never known, those right after the trainings of `recovered`: what
    can be guessed. None if none were given."""
    beyond_guessed: Interval | None
    """recovered - guessed, answers resampled for both together."""
    gain: Interval
    """Rise of a forgotten fact's log-probability, the other half trained."""
    control_gain: Interval
    """The same under the control's training."""
    learnt: float
    """Of the facts trained on, those right afterwards. Well below 1, the training was too
    brief to tell erased from misread."""
    outcomes: pd.DataFrame
    """A row a halving and forgotten fact: halving, fact, answer, logprob_after (of the
    tuned model), right and logprob (other half trained), control_right, control_logprob."""
    guesses: pd.DataFrame
    """A row a halving and never-known fact: halving, fact, answer, right (the share of the
    two trainings after which it is)."""


def recovery(
    before: Model,
    after: Model,
    facts: FactSet,
    *,
    others: FactSet | None = None,
    never: FactSet | None = None,
    by: By = "facts",
    halvings: int = 3,
    steps: int = 20,
    learning_rate: float = 1e-4,
    batch_size: int = 32,
    seed: int = 0,
) -> Recovery:
    """Train copies of the tuned model on half of what it forgot; does the rest come back?

    The forgotten facts (right in `before`, wrong in `after`) are halved at random; a copy
    is trained on one half and asked the other, then the reverse, so each halving tests each
    forgotten fact once, untrained. The control is trained for as many steps on as many
    facts that were not forgotten, of the same answers as far as there are such facts.

    What it shows. One fact holds nothing about another, so what comes back beyond what can
    be guessed was still in the weights: it was misread, not erased.

    - `recovered` above `guessed`: misread. With `control` as high, any reminder of old
      facts opens them again (what was lost is common to old facts, or is the format); with
      `control` lower, the forgotten facts share what was lost among themselves.
    - `recovered` no higher than `guessed`, with `learnt` near 1: erased, or hidden deeper
      than so brief a training reaches. That is no proof of erasure.

    Guessing: training on Chinese cities makes "China" more probable, and names sound like
    their country. `never` measures it, best with the forgotten facts' answers;
    `by="answers"` makes it harder, since no answer is both trained and tested. The facts
    are chosen by being wrong once, so near misses flip back by any small change: the
    control has them too, `guessed` has not.

    Four trainings of `steps` steps a halving, one after the other; no copy is kept.

    Args:
        before: the old model (the format checkpoint).
        after: the tuned one, float32.
        facts: what the old model knew and training never showed: held-out facts.
        others: where the control's facts come from, those that both models answer right.
            None: `facts`.
        never: facts that the old model did not know and training never showed; those that
            both models answer wrong are asked.
        by: halve the facts, each answer in both halves where it has two, or the answers.
        halvings: random halvings, averaged as seeds are; the intervals resample answers.
        steps: optimizer steps of each brief training.
        learning_rate: of these; the study's own.
        batch_size: of these.
        seed: of the halvings, the control's draw and the data order.

    Raises:
        InputError: fewer than 8 forgotten facts, all of one answer where answers are
            halved, too few others, a setting out of range.

    Source: after the recovery of arXiv 2501.13453 (half of the forgotten is trained on, the
    other half tested); its two controls, kept and never-known facts, are ours.
    """
    if halvings < 1:
        raise InputError(f"halvings must be at least 1, got {halvings}")
    known, kept = (_right(m, facts) for m in (before, after))
    forgotten = _chosen(facts, known & ~kept)
    if len(forgotten) < LEAST:
        raise InputError(
            f"{facts.source}: {after.name} forgot {len(forgotten)} of {len(facts)} facts; "
            f"the recovery probe needs {LEAST} or more"
        )
    pool = _chosen(facts, known & kept)
    if others is not None:
        pool = _chosen(others, _right(before, others) & _right(after, others))
    unknown = facts[:0] if never is None else never
    unknown = _chosen(unknown, ~_right(before, unknown) & ~_right(after, unknown))

    def briefly(on: FactSet) -> Model:
        return train(
            after,
            Split.for_training(on),
            steps=steps,
            learning_rate=learning_rate,
            batch_size=batch_size,
            seed=seed,
        )

    runs = [
        _halving(forgotten, by, pool, unknown, briefly, np.random.default_rng([seed, i]))
        for i in range(halvings)
    ]
    return _result(forgotten, unknown, ask(after, forgotten, sampling=False).logprob, runs)


@dataclass(frozen=True)
class _Halving:
    """What the forgotten facts' answers are, each tested by the half without it."""

    right: Bool[np.ndarray, " forgotten"]
    logprob: Float64[np.ndarray, " forgotten"]
    control_right: Bool[np.ndarray, " forgotten"]
    control_logprob: Float64[np.ndarray, " forgotten"]
    guessed: Float64[np.ndarray, " unknown"]
    """Share of the two trainings after which it is right."""
    learnt: float


def _halving(
    forgotten: FactSet,
    by: By,
    pool: FactSet,
    unknown: FactSet,
    briefly: Callable[[FactSet], Model],
    random: np.random.Generator,
) -> _Halving:
    first, n = halve(forgotten, by, random), len(forgotten)
    right, control_right = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    logprob, control_logprob = np.zeros(n), np.zeros(n)
    guessed, learnt = np.zeros(len(unknown)), 0
    for trained in (first, ~first):
        half, rest = _chosen(forgotten, trained), _chosen(forgotten, ~trained)
        model = briefly(half)
        found = ask(model, rest, sampling=False)
        right[~trained], logprob[~trained] = found.right, found.logprob
        guessed += _right(model, unknown) / 2
        learnt += int(_right(model, half).sum())
        found = ask(briefly(like(half, pool, random)), rest, sampling=False)
        control_right[~trained], control_logprob[~trained] = found.right, found.logprob
    return _Halving(right, logprob, control_right, control_logprob, guessed, learnt / n)


def _result(
    forgotten: FactSet,
    unknown: FactSet,
    start: Float64[np.ndarray, " forgotten"],
    runs: list[_Halving],
) -> Recovery:
    answers = [fact.answer for fact in forgotten]
    right = np.stack([run.right for run in runs]).astype(float)
    control = np.stack([run.control_right for run in runs]).astype(float)
    guessed = beyond_guessed = None
    if len(unknown):
        labels = [fact.answer for fact in unknown]
        guesses = np.stack([run.guessed for run in runs])
        guessed = mean_interval(guesses, labels)
        beyond_guessed = unpaired_interval(right, answers, guesses, labels)
    tables = [
        pd.DataFrame(
            {
                "halving": i,
                "fact": forgotten.ids,
                "answer": answers,
                "logprob_after": start,
                "right": run.right,
                "logprob": run.logprob,
                "control_right": run.control_right,
                "control_logprob": run.control_logprob,
            }
        )
        for i, run in enumerate(runs)
    ]
    guess_tables = [
        pd.DataFrame(
            {
                "halving": i,
                "fact": unknown.ids,
                "answer": [fact.answer for fact in unknown],
                "right": run.guessed,
            }
        )
        for i, run in enumerate(runs)
    ]
    return Recovery(
        forgotten=len(forgotten),
        recovered=mean_interval(right, answers),
        control=mean_interval(control, answers),
        beyond_control=difference_interval(right, control, answers),
        guessed=guessed,
        beyond_guessed=beyond_guessed,
        gain=mean_interval(np.stack([run.logprob - start for run in runs]), answers),
        control_gain=mean_interval(
            np.stack([run.control_logprob - start for run in runs]), answers
        ),
        learnt=float(np.mean([run.learnt for run in runs])),
        outcomes=pd.concat(tables, ignore_index=True),
        guesses=pd.concat(guess_tables, ignore_index=True),
    )


def _right(model: Model, facts: FactSet) -> Bool[np.ndarray, " facts"]:
    return ask(model, facts, sampling=False).right


def _chosen(facts: FactSet, where: Bool[np.ndarray, " facts"]) -> FactSet:
    return facts.select(facts[int(row)].id for row in np.flatnonzero(where))
