"""Facts for probes: few answers, each with many subjects."""

import functools

from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames


@functools.cache
def _cities() -> FactSet:
    return geonames(["P17"], limit=2500)


def countries(count: int, each: int, skip: int = 0) -> FactSet:
    """`each` cities of each of the `count` countries that have most, country by country."""
    every = _cities()
    table = every.table
    answers = table["answer"].value_counts().index[:count]
    rows = [table["id"][table["answer"] == a].iloc[skip : skip + each] for a in answers]
    return every.select([fact for ids in rows for fact in ids])
