"""SLiCK: which facts does a model know, asked under many few-shot prompts?"""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from interfere import cache
from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet, fact_id
from interfere.facts.matching import is_right
from interfere.facts.questions import question
from interfere.knowledge.categories import SAMPLES, categories, ever_right
from interfere.knowledge.exemplars import prefixes, reserve
from interfere.knowledge.knowledge import Knowledge
from interfere.models.answering import Answers, ask, ask_again
from interfere.models.asked import as_asked
from interfere.models.generation import generate, sample
from interfere.models.model import Model
from interfere.progress import Advance, progress

VERSION = 2
"""Of the cached tables: raised whenever a result changes."""

NUMBERS = ["p_correct", "pi", "greedy", "logprob", "margin"]
COLUMNS = ["id", "subject", "relation", "answer", "category", "strict", *NUMBERS]


def categorise(
    model: Model,
    facts: FactSet,
    *,
    method: Literal["exact", "sampling"] = "exact",
    prompts: int = 10,
    shots: int = 4,
    seed: int = 0,
    exemplars: FactSet | None = None,
) -> Knowledge:
    """Sort facts into SLiCK's categories; cached by model, facts and settings.

    "exact": the probability of sampling a right answer in closed form (`models.answering`).
    "sampling": one greedy and 16 sampled generations a prompt, temperature .5, top-k 40, as
    Gekhman et al. (arXiv 2405.05904) did; p_correct is then a share of samples, and pi is 1
    where any sample was right, else 0.

    Args:
        model: left as it was.
        facts: of any relations; each relation is asked with exemplars of its own.
        method: see above.
        prompts: few-shot prompts a relation.
        shots: exemplars a prompt.
        seed: of exemplars and samples.
        exemplars: where to draw exemplars from; None: a pool of the facts is reserved.
            Facts drawn are in the category "exemplar" and in no split.

    Raises:
        InputError: settings out of range, too few exemplars, a fact that can't be asked.
    """
    if method not in ("exact", "sampling"):
        raise InputError(f"unknown method {method!r}; there are exact, sampling")
    if prompts < 1 or shots < 0:
        raise InputError(
            f"prompts must be at least 1 and shots 0, got {prompts} and {shots}"
        )
    pool = reserve(facts, shots=shots, seed=seed) if exemplars is None else exemplars
    plan = _plan(facts, pool, prompts=prompts, shots=shots, seed=seed)
    drawn = {fact.id: fact for group in plan for fact in group.exemplars}
    used = pool if exemplars is None else replace(pool, facts=tuple(drawn.values()))
    key = {
        "version": VERSION,
        "model": model.digest,
        "tokenizer": model.tokenizer_digest,
        "facts": facts.digest,
        "exemplars": used.digest,
        "prefixes": [group.prefixes for group in plan],
        "method": method,
        "seed": seed,
    }
    file = cache.home() / "knowledge" / f"{cache.digest(key)}.parquet"
    table = _cached(file, facts)
    if table is None:
        table = _categorise(model, facts, plan, set(used.ids), method, seed)
        with cache.whole_file(file) as draft:
            table.to_parquet(draft, index=False)
    return Knowledge(facts, table, used, model.tokenizer)


@dataclass(frozen=True)
class _Group:
    """A relation's facts, and the prefixes that they are asked after."""

    facts: FactSet
    prefixes: list[str]
    exemplars: tuple[Fact, ...]


@dataclass(frozen=True)
class _Outcome:
    """By prompt and fact."""

    right: Bool[np.ndarray, "prompts facts"]
    probability: Float[np.ndarray, "prompts facts"]
    logprob: Float[np.ndarray, "prompts facts"]


def _plan(
    facts: FactSet, pool: FactSet, *, prompts: int, shots: int, seed: int
) -> list[_Group]:
    groups = []
    for relation in facts.relations:
        own = replace(facts, facts=tuple(f for f in facts if f.relation == relation))
        shown = prefixes(pool, relation, prompts=prompts, shots=shots, seed=seed)
        exemplars = tuple(fact for _, chosen in shown for fact in chosen)
        groups.append(_Group(own, [text for text, _ in shown], exemplars))
    return groups


def _cached(file: Path, facts: FactSet) -> pd.DataFrame | None:
    """The table of an earlier call; None if there is none or it is damaged."""
    if not file.exists():
        return None
    with contextlib.suppress(
        Exception
    ):  # whatever a damaged Parquet file makes of its reader
        table = pd.read_parquet(file)
        if list(table.columns) == COLUMNS and table["id"].tolist() == facts.ids:
            return table
    return None


def _categorise(
    model: Model,
    facts: FactSet,
    plan: list[_Group],
    shown: set[str],
    method: str,
    seed: int,
) -> pd.DataFrame:
    asked = [
        replace(group, facts=replace(facts, facts=_not_shown(group.facts, shown)))
        for group in plan
    ]
    total = sum(len(group.facts) * len(group.prefixes) for group in asked)
    parts = []
    with progress("asking", total) as advance:
        for group in asked:
            outcome = _exact(model, group, advance)
            if method == "sampling":
                outcome = _sampled(model, group, outcome, seed)
            parts.append(_rows(model, group, outcome, method))
    empty = dict.fromkeys(NUMBERS, np.nan)
    parts.append(
        pd.DataFrame(
            [
                {**_named(fact), "category": "exemplar", "strict": False, **empty}
                for fact in facts
                if fact.id in shown
            ],
            columns=COLUMNS,
        )
    )
    whole = pd.concat([part for part in parts if len(part)], ignore_index=True)
    whole[NUMBERS] = whole[NUMBERS].astype(float)
    whole["strict"] = whole["strict"].astype(bool)
    return whole.set_index("id", drop=False).loc[facts.ids].reset_index(drop=True)[COLUMNS]


def _not_shown(facts: FactSet, shown: set[str]) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact.id not in shown)


def _exact(model: Model, group: _Group, advance: Advance) -> _Outcome:
    tokens = as_asked(model.tokenizer, group.facts)
    answers: list[Answers] = []
    for prefix in group.prefixes:
        answers.append(ask_again(model, tokens, prefix=prefix))
        advance(len(group.facts))
    return _Outcome(
        np.array([a.right for a in answers]),
        np.array([a.probability for a in answers]),
        np.array([a.logprob for a in answers]),
    )


def _sampled(model: Model, group: _Group, exact: _Outcome, seed: int) -> _Outcome:
    """What generation finds in place of the closed form."""
    right, share = np.zeros_like(exact.right), np.zeros_like(exact.probability)
    for i, prefix in enumerate(group.prefixes):
        greedy = generate(model, group.facts, prefix=prefix)
        drawn = sample(model, group.facts, prefix=prefix, samples=SAMPLES, seed=seed + i)
        for j, (fact, said, many) in enumerate(
            zip(group.facts, greedy, drawn, strict=True)
        ):
            right[i, j] = is_right(said, fact)
            share[i, j] = np.mean([is_right(text, fact) for text in many])
    return _Outcome(right, share, exact.logprob)


def _rows(model: Model, group: _Group, outcome: _Outcome, method: str) -> pd.DataFrame:
    if not len(group.facts):
        return pd.DataFrame(columns=COLUMNS)
    chance = outcome.probability
    pi = ever_right(chance) if method == "exact" else chance.any(0).astype(float)
    names, strict = categories(outcome.right, pi)
    table = pd.DataFrame([_named(fact) for fact in group.facts])
    return table.assign(
        category=names,
        strict=strict,
        p_correct=chance.mean(0),
        pi=pi,
        greedy=outcome.right.mean(0),
        logprob=outcome.logprob.mean(0),
        margin=outcome.logprob.mean(0) - _priors(model, group),
    )


def _named(fact: Fact) -> dict[str, str]:
    return {
        "id": fact.id,
        "subject": fact.subject,
        "relation": fact.relation,
        "answer": fact.answer,
    }


def _priors(model: Model, group: _Group) -> Float[np.ndarray, " facts"]:
    """Mean log-probability of each fact's answer when "it" stands for the subject."""
    without: list[Fact | None] = [_without_subject(fact) for fact in group.facts]
    distinct = {fact.id: fact for fact in without if fact is not None}
    asked = replace(group.facts, facts=tuple(distinct.values()))
    found = [
        ask(model, asked, prefix=prefix, sampling=False).logprob
        for prefix in group.prefixes
    ]
    prior = dict(zip(distinct, np.mean(found, axis=0), strict=True))
    return np.array([np.nan if fact is None else prior[fact.id] for fact in without])


def _without_subject(fact: Fact) -> Fact | None:
    words = question(fact)
    if fact.subject not in words:
        return None
    bare = words.replace(fact.subject, "it")
    name = fact_id(fact.answer, fact.relation, bare)
    return Fact(name, "it", fact.relation, fact.answer, question=bare)
