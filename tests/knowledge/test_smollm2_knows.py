"""What the real weights must know, and what they can't."""

import pytest

from interfere.facts.geonames import geonames
from interfere.knowledge.slick import categorise

pytestmark = pytest.mark.slow

# Right under all of four to six few-shot prompts when the list was made.
NAMES = (
    "Shanghai Beijing Guangzhou Chengdu Mumbai Tianjin Tokyo Nanjing Hangzhou Jakarta "
    "Bengaluru Chongqing Qingdao Chennai Kolkata Kabul Jinan Zhengzhou Kunming Yokohama "
    "Ankara Pune Osaka Lucknow Munich"
)
LARGE = NAMES.split(" ")

# Of 6,000 people at most, and Unknown under all of ten prompts when the list was made.
# fmt: off
SMALL = (
    "Kéiténably", "Charles Hill", "Jean-Rabel", "Eskhar", "Ashchysay",
    "Lammi", "Vransko", "Little Cayman", "Bankim", "Cadale",
    "Obdam", "Amiret El Fhoul", "Ikoni", "Smirnovo", "Buitenpost",
    "Kulia Village", "Gasa", "Nadur", "Airuk", "Okola",
    "Dayr Abū Ḑa‘īf", "Colona",
)
# fmt: on


@pytest.fixture(scope="module")
def cities():
    return geonames(["P17"])


@pytest.fixture(scope="module")
def exemplars(cities):
    """Large cities of the first thousand that are not in the list, one a country."""
    chosen = {}
    for fact in cities[:1000]:
        if fact.subject not in LARGE:
            chosen.setdefault(fact.answer, fact)
    return cities.select([fact.id for fact in chosen.values()][:40])


def counts(model, facts, exemplars, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERFERE_CACHE", str(tmp_path))
    table = categorise(model, facts, prompts=3, exemplars=exemplars).table
    return table.set_index("subject")["category"]


def test_knows_large_cities(smollm2, cities, exemplars, tmp_path, monkeypatch):
    asked = [fact.id for fact in cities[:1000] if fact.subject in LARGE]
    found = counts(smollm2, cities.select(asked), exemplars, tmp_path, monkeypatch)
    assert len(found) == len(LARGE)
    assert (found == "HighlyKnown").sum() >= 22, found.to_dict()


def test_does_not_know_small_towns(smollm2, cities, exemplars, tmp_path, monkeypatch):
    small = cities.select([fact.id for fact in cities if fact.subject in SMALL])
    found = counts(smollm2, small, exemplars, tmp_path, monkeypatch)
    assert len(found) == len(SMALL)
    assert (found == "HighlyKnown").sum() == 0, found.to_dict()
    assert (found == "Unknown").sum() >= 19, found.to_dict()
