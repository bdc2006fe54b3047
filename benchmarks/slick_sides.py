"""What both benchmarks of SLiCK ask: cities of many sizes, after four others."""

import torch

from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames
from interfere.facts.questions import few_shot_prefix
from interfere.models.answering import ask
from interfere.models.load import load_model
from interfere.models.model import Model


def asked_model(model: str, facts: int, threads: int) -> tuple[Model, FactSet, str]:
    """The model, which has answered once, the facts, and the prefix."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    cities = geonames(["P17"], limit=40 * facts)
    asked, prefix = cities[: 20 * facts : 20], few_shot_prefix(cities[-4:])
    ask(loaded, asked[:4], prefix=prefix)
    return loaded, asked, prefix
