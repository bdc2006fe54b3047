"""A fact, and an ordered set of facts."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import overload

import pandas as pd

from interfere import cache
from interfere.errors import InputError


@dataclass(frozen=True, slots=True)
class Fact:
    """What a model can be asked: a subject, a relation, and the answer that is right."""

    id: str
    """Stable: a digest of source, relation and subject."""
    subject: str
    relation: str
    """A Wikidata property where there is one, such as P17."""
    answer: str
    """The canonical answer: what is trained on and whose log-probability is scored."""
    aliases: tuple[str, ...] = ()
    """Other answers that count as right."""
    popularity: float | None = None
    """How well known the subject is, in the source's unit (GeoNames: inhabitants)."""
    question: str | None = None
    """Asks for the answer in words; None: the relation's template."""

    @property
    def answers(self) -> tuple[str, ...]:
        """The canonical answer, then its aliases."""
        return (self.answer, *self.aliases)


def fact_id(source: str, relation: str, subject: str) -> str:
    """16 hexadecimal digits, equal wherever source, relation and subject are equal."""
    return cache.digest([source, relation, subject])


@dataclass(frozen=True)
class FactSet:
    """Facts in a fixed order, no two with one id.

    Raises:
        InputError: a duplicate id.
    """

    facts: tuple[Fact, ...]
    source: str
    attribution: str = ""
    """What the source's licence asks to be said of it."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for row, fact in enumerate(self.facts):
            if fact.id in seen:
                raise InputError(
                    f"{self.source}: row {row} asks {fact.relation} of {fact.subject!r} "
                    "a second time; keep one row for each subject and relation"
                )
            seen.add(fact.id)

    @cached_property
    def digest(self) -> str:
        """Names the facts and their order: 16 hexadecimal digits."""
        return cache.digest([asdict(fact) for fact in self.facts])

    @property
    def table(self) -> pd.DataFrame:
        """A row a fact: id, subject, relation, answer, aliases, popularity, question."""
        columns = [
            "id",
            "subject",
            "relation",
            "answer",
            "aliases",
            "popularity",
            "question",
        ]
        return pd.DataFrame(list(map(attrgetter(*columns), self.facts)), columns=columns)

    @property
    def ids(self) -> list[str]:
        """The facts' ids, in order."""
        return [fact.id for fact in self.facts]

    @property
    def relations(self) -> list[str]:
        """The relations that occur, each once, in order of appearance."""
        return list(dict.fromkeys(fact.relation for fact in self.facts))

    def select(self, ids: Iterable[str]) -> "FactSet":
        """The facts of these ids, in the order of `ids`.

        Raises:
            InputError: an id that is not in this set.
        """
        by_id = {fact.id: fact for fact in self.facts}
        wanted = list(ids)
        if missing := [i for i in wanted if i not in by_id]:
            raise InputError(f"{self.source}: no fact has the id {missing[0]}")
        return replace(self, facts=tuple(by_id[i] for i in wanted))

    def __add__(self, other: "FactSet") -> "FactSet":
        source = (
            self.source if self.source == other.source else f"{self.source}+{other.source}"
        )
        said = dict.fromkeys(text for text in (self.attribution, other.attribution) if text)
        return FactSet(self.facts + other.facts, source, " ".join(said))

    def __len__(self) -> int:
        return len(self.facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    @overload
    def __getitem__(self, index: int) -> Fact: ...
    @overload
    def __getitem__(self, index: slice) -> "FactSet": ...
    def __getitem__(self, index: int | slice) -> "Fact | FactSet":
        chosen = self.facts[index]
        return chosen if isinstance(chosen, Fact) else replace(self, facts=chosen)
