"""What `nano` has been told: its ground truth, fact by fact."""

from dataclasses import dataclass
from importlib import resources
from typing import Literal, cast

import numpy as np
import pandas as pd

from interfere.facts.fact import Fact, FactSet
from interfere.facts.geonames import geonames

Exposure = Literal["questions", "statements", "never"]

CITIES: dict[Exposure, int] = {"questions": 3000, "statements": 4500, "never": 4500}
"""How many of the most populous unambiguous cities nano saw, and in which form.

Cities of `questions` were seen in statements too: they taught the question format.
"""

COUNTRY_SHARES: dict[Exposure, float] = {"questions": 0.8, "never": 0.2}
"""The same of the countries, drawn anew for each relation.

None in statements alone: most capitals occur nowhere else in the text, and half of those
were then not found again under a question.
"""

COUNTRY_RELATIONS = ("P36", "P30", "P38")


@dataclass(frozen=True)
class World:
    """Every fact of nano's world and how often it was told."""

    facts: FactSet
    exposure: tuple[Exposure, ...]
    """One a fact, in the facts' order."""

    def seen_in(self, *exposures: Exposure) -> FactSet:
        """The facts of these exposures, in order."""
        pairs = zip(self.facts, self.exposure, strict=True)
        chosen = tuple(fact for fact, exposure in pairs if exposure in exposures)
        return FactSet(chosen, self.facts.source, self.facts.attribution)


def draw_world(seed: int) -> World:
    """Assign exposures at random over population, so that any `limit` has all of them."""
    rng = np.random.default_rng(seed)
    cities = geonames(["P17"], limit=sum(CITIES.values()))
    facts: list[Fact] = list(cities)
    exposure = list(rng.permutation(np.repeat(list(CITIES), list(CITIES.values()))))
    for relation in COUNTRY_RELATIONS:
        countries = geonames([relation])
        facts += countries
        shares = list(COUNTRY_SHARES.values())
        exposure += list(rng.choice(list(COUNTRY_SHARES), size=len(countries), p=shares))
    whole = FactSet(tuple(facts), cities.source, cities.attribution)
    return World(whole, tuple(cast(Exposure, str(word)) for word in exposure))


def ground_truth() -> pd.DataFrame:
    """What the shipped nano was told: a row a fact with id, relation, subject, exposure.

    exposure: `questions` (statements and questions), `statements` (these alone), `never`.
    """
    with (
        resources.files("interfere.models").joinpath("nano/exposure.csv").open("rb") as file
    ):
        return pd.read_csv(file, keep_default_na=False)
