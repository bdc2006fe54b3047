"""Halves of a set of facts, and facts of another set that are like a half."""

from typing import Literal

import numpy as np
from jaxtyping import Bool

from interfere.errors import InputError
from interfere.facts.fact import FactSet

By = Literal["facts", "answers"]


def halve(
    facts: FactSet, by: By, random: np.random.Generator
) -> Bool[np.ndarray, " facts"]:
    """True for a random half.

    By facts: halves that differ by at most one fact, and by at most one of each answer.
    By answers: no answer in both; each goes to the half that is smaller so far, so sizes
    differ by at most the facts of one answer.

    Raises:
        InputError: facts of a single answer, halved by answers.
    """
    by_answer: dict[str, list[int]] = {}
    for row in random.permutation(len(facts)):
        by_answer.setdefault(facts[int(row)].answer, []).append(int(row))
    first = np.zeros(len(facts), dtype=bool)
    if by == "facts":
        side_by_side = [row for rows in by_answer.values() for row in rows]
        first[side_by_side[int(random.integers(2)) :: 2]] = True
        return first
    if len(by_answer) < 2:
        raise InputError(
            f"{facts.source}: all facts have the answer {next(iter(by_answer), None)!r}, "
            "which can't be halved by answers; halve by facts"
        )
    sizes = [0, 0]
    for rows in by_answer.values():
        smaller = int(sizes[1] < sizes[0])
        first[rows] = smaller == 0
        sizes[smaller] += len(rows)
    return first ^ bool(random.integers(2))


def like(wanted: FactSet, pool: FactSet, random: np.random.Generator) -> FactSet:
    """As many facts of the pool, drawn at random: of the same answers, as far as it has them.

    Raises:
        InputError: a pool of fewer facts than are wanted.
    """
    if len(pool) < len(wanted):
        raise InputError(
            f"{pool.source}: {len(wanted)} other facts are needed to train on, there are "
            f"{len(pool)}; give more"
        )
    order = [int(row) for row in random.permutation(len(pool))]
    free: dict[str, list[int]] = {}
    for row in order:
        free.setdefault(pool[row].answer, []).append(row)
    taken = [rows.pop() for fact in wanted if (rows := free.get(fact.answer))]
    left = [row for row in order if row not in set(taken)]
    taken += left[: len(wanted) - len(taken)]
    return pool.select(pool[row].id for row in taken)
