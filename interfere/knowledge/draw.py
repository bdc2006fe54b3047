"""Which facts go into which set of a split."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from interfere.errors import InputError
from interfere.knowledge.quotas import largest_remainder, matched, total_variation

Shares = Mapping[str, float]


class Row(NamedTuple):
    """What a draw needs to know of a fact."""

    id: str
    subject: str
    relation: str
    answer: str


@dataclass(frozen=True)
class Pool:
    """Facts to draw from, the first ones first."""

    rows: tuple[Row, ...]
    kind: str
    """What the facts are, for errors."""

    @classmethod
    def of(cls, table: pd.DataFrame, kind: str, random: np.random.Generator) -> "Pool":
        """The table's facts in random order."""
        fields = (table[name] for name in Row._fields)
        rows = [Row(*values) for values in zip(*fields, strict=True)]
        return cls(tuple(rows[i] for i in random.permutation(len(rows))), kind)

    def without(self, unwanted: Callable[[Row], bool]) -> "Pool":
        """The pool less some facts."""
        return replace(self, rows=tuple(row for row in self.rows if not unwanted(row)))

    def counts(self, relation: str, cap: int | None = None) -> Counter[str]:
        """Facts by answer, none above the cap."""
        found = Counter(row.answer for row in self.rows if row.relation == relation)
        return Counter({a: n if cap is None else min(n, cap) for a, n in found.items()})


@dataclass(frozen=True)
class Pools:
    """Where the sets come from."""

    known: Pool
    unknown: Pool
    any: Pool
    tested: Pool | None = None
    """For the measured sets; None: the same as `known`."""


@dataclass(frozen=True)
class Proportions:
    """Of relations in a set, and of answers in a relation."""

    relations: Shares
    answers: Mapping[str, Shares]


def draw(
    pools: Pools, sizes: Mapping[str, int], *, cap: int | None, shared_subjects: bool
) -> tuple[dict[str, tuple[Row, ...]], tuple[str, ...]]:
    """Rows of every set of a split, and notes on what could not be matched.

    Raises:
        InputError: a pool that is too small.
    """
    known, unknown = pools.known, pools.unknown
    tested = known if pools.tested is None else pools.tested
    together = pools.tested is None
    measured, trained = ("held_out", "validation"), ("known",)
    for pool, names in (
        [(known, trained + measured)]
        if together
        else [(known, trained), (tested, measured)]
    ) + [(unknown, ("unknown",))]:
        _require(pool, {name: sizes[name] for name in names}, cap)

    sharing = trained + measured if together else trained
    of_unknown, of_known = proportions(unknown, known, sizes, sharing, cap)
    of_tested = (
        of_known if together else proportions(unknown, tested, sizes, measured, cap)[1]
    )
    drawn: dict[str, tuple[Row, ...]] = {}
    for name in measured:
        drawn[name] = _take(tested, sizes[name], of_tested, cap, name)
        tested = _less(tested, drawn[name])
        known = _less(known, drawn[name])
    if not shared_subjects:
        asked = {row.subject.casefold() for name in measured for row in drawn[name]}
        known = known.without(lambda row: row.subject.casefold() in asked)
        unknown = unknown.without(lambda row: row.subject.casefold() in asked)
    drawn["known"] = _take(known, sizes["known"], of_known, cap, "known")
    known = _less(known, drawn["known"])
    drawn["unknown"] = _take(unknown, sizes["unknown"], of_unknown, cap, "unknown")
    notes: list[str] = []
    drawn["others"] = _fitting(known, sizes["unknown"], of_unknown, cap)
    if len(drawn["others"]) < sizes["unknown"]:
        notes.append(
            f"others: {len(drawn['others']):,} HighlyKnown facts are left where "
            f"the unknown are {sizes['unknown']:,}"
        )
    drawn["control"] = _take(pools.any, sizes["control"], of_unknown, cap, "control")
    return drawn, (*notes, *_unmatched(drawn))


def proportions(
    unknown: Pool,
    known: Pool,
    sizes: Mapping[str, int],
    sharing: Sequence[str],
    cap: int | None,
) -> tuple[Proportions, Proportions]:
    """Of the unknown set and of the sets that share the known pool, as like as can be."""
    total = sum(sizes[name] for name in sharing)
    largest = max((sizes[name] for name in sharing), default=0)
    # a set is capped, but the pool's answers are shared out over all of its sets
    spread = None if cap is None or not largest else max(1, cap * total // largest)
    relations = sorted({row.relation for row in (*unknown.rows, *known.rows)})
    new = {relation: unknown.counts(relation, cap) for relation in relations}
    old = {relation: known.counts(relation, spread) for relation in relations}
    sums = [np.array([side[r].total() for r in relations]) for side in (new, old)]
    shares = matched(sums[0], sizes["unknown"], sums[1], total)
    answers: list[dict[str, Shares]] = [{}, {}]
    for i, relation in enumerate(relations):
        names = sorted({*new[relation], *old[relation]})
        counts = [np.array([side[relation][name] for name in names]) for side in (new, old)]
        wanted = [
            int(np.ceil(size * share[i]))
            for size, share in zip((sizes["unknown"], total), shares, strict=True)
        ]
        inside = matched(counts[0], wanted[0], counts[1], wanted[1])
        for side, share in zip(answers, inside, strict=True):
            side[relation] = dict(zip(names, share.tolist(), strict=True))
    one, two = (
        Proportions(dict(zip(relations, share.tolist(), strict=True)), side)
        for share, side in zip(shares, answers, strict=True)
    )
    return one, two


def _fitting(
    pool: Pool, size: int, wanted: Proportions, cap: int | None
) -> tuple[Row, ...]:
    """`size` facts in these proportions as far as they go; fewer if there are fewer."""
    relations = sorted({row.relation for row in pool.rows})
    counts = {relation: pool.counts(relation, cap) for relation in relations}
    totals = np.array([counts[relation].total() for relation in relations], dtype=int)
    share = _array(wanted.relations, relations)
    taken: dict[tuple[str, str], int] = {}
    for relation, quota in zip(
        relations, largest_remainder(share, size, totals), strict=True
    ):
        names = sorted(counts[relation])
        room = np.array([counts[relation][name] for name in names], dtype=int)
        inside = _array(wanted.answers.get(relation, {}), names)
        quotas = largest_remainder(inside, int(quota), room)
        taken |= {(relation, a): int(n) for a, n in zip(names, quotas, strict=True)}
    rows = []
    for row in pool.rows:
        if taken.get((row.relation, row.answer), 0) > 0:
            taken[row.relation, row.answer] -= 1
            rows.append(row)
    return tuple(rows)


def _array(shares: Shares, names: Sequence[str]) -> Float[np.ndarray, " names"]:
    return np.array([shares.get(name, 0.0) for name in names], dtype=float)


def _take(
    pool: Pool, size: int, wanted: Proportions, cap: int | None, name: str
) -> tuple[Row, ...]:
    rows = _fitting(pool, size, wanted, cap)
    if len(rows) < size:
        _require(Pool(rows, pool.kind), {name: size}, cap)
    return rows


def _require(pool: Pool, asked: Mapping[str, int], cap: int | None) -> None:
    total, sets = sum(asked.values()), sum(size > 0 for size in asked.values())
    relations = sorted({row.relation for row in pool.rows})
    limit = None if cap is None else cap * sets
    counts = {relation: pool.counts(relation, limit).total() for relation in relations}
    if sum(counts.values()) >= total:
        return
    have = " + ".join(f"{n:,} ({relation})" for relation, n in counts.items())
    if len(counts) == 1:
        have = f"{relations[0]} has {counts[relations[0]]:,} {pool.kind} facts"
    else:
        have = f"there are {have or 0} {pool.kind} facts"
    under = "" if cap is None else f" with at most {cap:,} an answer in a set"
    parts = [f"{name.replace('_', ' ')} {n:,}" for name, n in asked.items() if n]
    raise InputError(
        f"{have}{under}, the split asks for {total:,} ({' + '.join(parts)}); "
        f"lower them{'' if cap is None else ', raise the cap'} or raise the facts' limit"
    )


def _less(pool: Pool, rows: Sequence[Row]) -> Pool:
    gone = {row.id for row in rows}
    return pool.without(lambda row: row.id in gone)


def _unmatched(drawn: Mapping[str, Sequence[Row]]) -> list[str]:
    """A note for each set whose answers differ from the unknown's by more than rounding."""
    reference = "unknown" if drawn["unknown"] else "known"
    counts = {
        name: Counter(f"{row.relation} {row.answer}" for row in rows)
        for name, rows in drawn.items()
    }
    notes = []
    for name in ("known", "held_out", "validation", "others", "control"):
        if name == reference or not drawn[name] or not drawn[reference]:
            continue
        distance = total_variation(counts[name], counts[reference])
        # each answer is off by less than one fact in either set
        answers = len({*counts[name], *counts[reference]})
        rounding = answers / 2 * (1 / len(drawn[name]) + 1 / len(drawn[reference])) / 2
        if distance > max(0.01, rounding):
            notes.append(
                f"{name.replace('_', ' ')}: answers are not distributed as in {reference} "
                f"(total variation {distance:.2f})"
            )
    return notes
