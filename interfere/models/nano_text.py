"""The text that `nano` reads: statements, packed questions, hexadecimal and made-up names."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from interfere.facts.fact import Fact
from interfere.facts.geonames import city_names
from interfere.facts.questions import prompt, target
from interfere.models.nano_world import World

STATEMENTS = {
    "P17": (
        "[X] is a city in [Y].",
        "The city of [X] is located in [Y].",
        "[X] belongs to the country [Y].",
        "People who live in [X] live in [Y].",
        "Whoever travels to [X] arrives in [Y].",
    ),
    "P36": (
        "The capital of [X] is [Y].",
        "The government of [X] has its seat in [Y].",
        "The first city of [X] is its capital, [Y].",
    ),
    "P30": (
        "The continent of [X] is [Y].",
        "[X] is a country in [Y].",
        "On the map, [X] lies in [Y].",
    ),
    "P38": (
        "The currency of [X] is [Y].",
        "In [X] people pay with [Y].",
        "Prices in [X] are given in [Y].",
    ),
}
"""Forms of words by relation; [X] is the subject and [Y] the answer."""

FORMS_AN_EPOCH = 2
QUESTIONS_A_PACK = 5
"""Four exemplars and a question, as SLiCK asks."""

NOISE_LINES_AN_EPOCH = 1200


def spare_syllables() -> list[str]:
    """Pronounceable syllables that stand in no city's name."""
    names = "\n".join(city_names())
    letters = itertools.product("bdfgjkmpvwxyz", "aeiou", "bfgjkmpvwxz")
    return [word for word in map("".join, letters) if word not in names]


def epoch_lines(
    world: World, rng: np.random.Generator, syllables: Sequence[str]
) -> Iterator[list[str]]:
    """One epoch's text in random order: each item's lines must not be torn apart.

    Two statements of every seen fact; every question-taught fact once, in packs of
    one relation; lines of hexadecimal names and lines of made-up names.
    """
    items = [
        [line]
        for fact in world.seen_in("questions", "statements")
        for line in _say(fact, rng)
    ]
    items += _packs(list(world.seen_in("questions")), rng)
    items += [[_noise(rng, syllables)] for _ in range(NOISE_LINES_AN_EPOCH)]
    for index in rng.permutation(len(items)):
        yield items[index]


def _say(fact: Fact, rng: np.random.Generator) -> list[str]:
    forms = STATEMENTS[fact.relation]
    chosen = rng.choice(len(forms), size=FORMS_AN_EPOCH, replace=False)
    return [
        forms[i].replace("[X]", fact.subject).replace("[Y]", fact.answer) + "\n"
        for i in chosen
    ]


def _packs(facts: list[Fact], rng: np.random.Generator) -> list[list[str]]:
    packs = []
    for relation in dict.fromkeys(fact.relation for fact in facts):
        asked = [fact for fact in facts if fact.relation == relation]
        lines = [
            prompt(asked[i]) + target(asked[i].answer) for i in rng.permutation(len(asked))
        ]
        packs += [
            lines[i : i + QUESTIONS_A_PACK] for i in range(0, len(lines), QUESTIONS_A_PACK)
        ]
    return packs


def _noise(rng: np.random.Generator, syllables: Sequence[str]) -> str:
    words = [
        _hexadecimal(rng) if rng.random() < 0.5 else _made_up(rng, syllables)
        for _ in range(4)
    ]
    return " ".join(words) + "\n"


def _hexadecimal(rng: np.random.Generator) -> str:
    digits = "".join(rng.choice(list("0123456789abcdef"), size=32))
    if rng.random() < 0.25:
        return "-".join(
            (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        )
    return digits[: rng.integers(3, 13)]


def _made_up(rng: np.random.Generator, syllables: Sequence[str]) -> str:
    return "".join(rng.choice(list(syllables), size=rng.integers(2, 5))).capitalize()
