"""nano's worth is its ground truth."""

import numpy as np
import pytest

from interfere.facts.geonames import geonames
from interfere.models.answering import ask
from interfere.models.nano_text import STATEMENTS, epoch_lines, spare_syllables
from interfere.models.nano_world import CITIES, draw_world, ground_truth


@pytest.fixture(scope="module")
def world():
    return draw_world(0)


@pytest.fixture(scope="module")
def text(world):
    return list(epoch_lines(world, np.random.default_rng(0), spare_syllables()))


def test_sizes_are_what_the_docs_promise():
    assert CITIES["questions"] + CITIES["statements"] >= 6000
    assert CITIES["never"] >= 3000


@pytest.mark.parametrize("limit", [500, 2000, 12000])
def test_any_limit_has_every_exposure(world, limit):
    shares = np.unique(world.exposure[:limit], return_counts=True)[1] / limit
    np.testing.assert_allclose(sorted(shares), [0.25, 0.375, 0.375], atol=0.06)


def test_shipped_exposures_are_the_world_drawn(world):
    truth = ground_truth()
    assert truth["id"].tolist() == world.facts.ids
    assert truth["exposure"].tolist() == list(world.exposure)


def test_facts_never_seen_are_not_in_the_text(world, text):
    lines = {line for item in text for line in item}
    for fact in world.seen_in("never"):
        for form in STATEMENTS[fact.relation]:
            said = form.replace("[X]", fact.subject).replace("[Y]", fact.answer)
            assert said + "\n" not in lines


def test_cities_of_statements_are_never_asked(world, text):
    asked = "".join(line for item in text if len(item) > 1 for line in item)
    for fact in world.seen_in("statements"):
        assert f"Which country is {fact.subject} located in?" not in asked


def test_made_up_names_share_no_syllable_with_a_city(world):
    names = " ".join(
        fact.subject.casefold() for fact in world.facts if fact.relation == "P17"
    )
    assert not [syllable for syllable in spare_syllables() if syllable in names]


def test_knows_what_it_was_told_and_guesses_the_rest(nano, world):
    rng = np.random.default_rng(1)
    right = {}
    for exposure in ("statements", "never"):
        cities = [f for f in world.seen_in(exposure) if f.relation == "P17"]
        chosen = [cities[i].id for i in rng.choice(len(cities), 200, replace=False)]
        right[exposure] = ask(nano, world.facts.select(chosen), sampling=False).right.mean()
    assert right["statements"] >= 0.95
    assert right["never"] <= 0.55


def test_its_world_is_geonames(world):
    assert world.facts[0] == geonames(["P17"], limit=1)[0]
