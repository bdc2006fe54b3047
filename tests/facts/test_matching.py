import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfere.facts.fact import Fact
from interfere.facts.geonames import geonames
from interfere.facts.matching import is_right, normalise, surface_forms


def fact(answer: str, *aliases: str) -> Fact:
    return Fact("0", "subject", "P17", answer, aliases)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Netherlands", "netherlands"),
        (" the  United\tStates of America. ", "united states of america"),
        ("Guinea-Bissau", "guineabissau"),
        ("Côte d'Ivoire", "côte divoire"),
        ("an apple, a day", "apple day"),
        ("Anna Theodora", "anna theodora"),
        ("The!", ""),
    ],
)
def test_normalise_by_hand(text, expected):
    assert normalise(text) == expected


@given(st.text())
def test_normalise_twice_is_once_but_for_letters_that_grow(text):
    once = normalise(text)
    if once.lower() == once:
        assert normalise(once) == " ".join(once.split())


def test_a_prefix_of_the_answer_is_wrong():
    assert not is_right("Guinea", fact("Guinea-Bissau"))
    assert is_right("guinea-bissau.", fact("Guinea-Bissau"))


def test_aliases_are_right_and_nothing_is_wrong():
    assert is_right("Holland", fact("The Netherlands", "Holland"))
    assert not is_right("the", fact("The"))
    assert not is_right("", fact("Chad"))


def test_surface_forms_by_hand():
    assert surface_forms(fact("The Gambia", "gambia")) == (
        *("The Gambia", "Gambia", "the Gambia", "gambia", "the gambia", "The gambia"),
    )


def test_surface_forms_are_right_distinct_and_few_on_all_countries():
    facts = {fact.answer: fact for fact in geonames(["P17"])}
    for country, example in facts.items():
        forms = surface_forms(example)
        assert forms[0] == country
        assert len(set(forms)) == len(forms) <= 7 * len(example.answers)
        assert all(is_right(form, example) for form in forms)
        assert set(example.aliases) <= set(forms)
