from collections import defaultdict

import pytest

from interfere.errors import InputError
from interfere.facts import geonames as source
from interfere.facts.geonames import geonames


def test_no_city_stands_in_two_countries():
    countries = defaultdict(set)
    for city in source._cities():
        countries[city["name"].casefold()].add(city["countrycode"])
    facts = geonames()
    assert len(facts) > 30_000
    assert all(len(countries[fact.subject.casefold()]) == 1 for fact in facts)
    assert len({fact.subject.casefold() for fact in facts}) == len(facts)


def test_most_populous_first_and_limit_is_a_prefix():
    facts = geonames(limit=1000)
    people = [fact.popularity for fact in facts]
    assert people == sorted(people, reverse=True)
    assert facts.ids[:100] == geonames(limit=100).ids
    assert "GeoNames" in facts.attribution


def test_known_answers():
    answers = {fact.subject: fact.answer for fact in geonames(limit=3000)}
    assert answers["Shanghai"] == "China"
    assert answers["Lyon"] == "France"
    by_country = {fact.subject: fact.answer for fact in geonames(["P36", "P30"]) if fact}
    assert by_country["France"] == "Europe"


def test_an_answer_spelt_out_is_left_out_by_word():
    subjects = {fact.subject for fact in geonames()}
    assert "Guatemala City" not in subjects
    assert "Manaus" in subjects


@pytest.mark.parametrize("relation", source.SOURCES)
def test_every_relation_has_facts(relation):
    facts = geonames([relation])
    assert len(facts) > 150
    assert all(fact.answer.strip() == fact.answer != "" for fact in facts)


def test_two_relations_come_in_the_order_asked_for():
    assert geonames(["P36", "P17"], limit=5).relations == ["P36", "P17"]


def test_unknown_relation_is_refused():
    with pytest.raises(InputError, match="no relation 'P1'; it has P17, P36"):
        geonames(["P1"])
