"""Which facts show the model how questions are answered, and how they are put together."""

import random
from collections.abc import Sequence
from dataclasses import replace

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.facts.questions import few_shot_prefix

POOL = 40
"""Facts reserved a relation, or ten prompts' worth if that is more."""


def reserve(facts: FactSet, *, shots: int, seed: int) -> FactSet:
    """A random pool of exemplars of each relation: 40 or 10 · shots, at most a fifth.

    Raises:
        InputError: a relation with too few facts to spare `shots` of them.
    """
    chosen: list[Fact] = []
    for relation in facts.relations if shots else []:
        own = [fact for fact in facts if fact.relation == relation]
        if len(own) <= shots:
            raise InputError(
                f"{facts.source}: {relation} has {len(own)} facts, too few to take {shots} "
                "exemplars from; ask with fewer shots, more facts, or exemplars of your own"
            )
        size = max(shots, min(max(POOL, 10 * shots), len(own) // 5))
        chosen += random.Random(f"{seed} {relation}").sample(own, size)
    return replace(facts, facts=tuple(chosen))


def prefixes(
    pool: FactSet, relation: str, *, prompts: int, shots: int, seed: int
) -> list[tuple[str, tuple[Fact, ...]]]:
    """Few-shot prefixes of a relation, each with its exemplars; no answer twice in one.

    Where the pool has fewer than `shots` answers, some occur twice.

    Raises:
        InputError: the pool has fewer than `shots` facts of the relation.
    """
    own = [fact for fact in pool if fact.relation == relation]
    if len(own) < shots:
        raise InputError(
            f"{pool.source}: {len(own)} exemplars of {relation} for {shots} shots; "
            "give more exemplars or ask with fewer shots"
        )
    draw = random.Random(f"{seed} {relation} prefixes")
    drawn = [tuple(_distinct(draw.sample(own, len(own)), shots)) for _ in range(prompts)]
    return [(few_shot_prefix(shown), shown) for shown in drawn]


def _distinct(facts: Sequence[Fact], shots: int) -> list[Fact]:
    first: dict[str, Fact] = {}
    for fact in facts:
        first.setdefault(fact.answer, fact)
    chosen = list(first.values())[:shots]
    rest = [fact for fact in facts if fact not in chosen]
    return chosen + rest[: shots - len(chosen)]
