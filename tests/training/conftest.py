"""A tiny Llama, and a split made by hand."""

from dataclasses import dataclass, replace

import pytest
import torch
from tiny_models import places, tiny_model

from interfere.facts.fact import FactSet
from interfere.models.model import Model


@dataclass(frozen=True)
class HandSplit:
    """What training reads of a split."""

    known: FactSet
    unknown: FactSet

    @property
    def training(self) -> FactSet:
        return self.known + self.unknown

    @property
    def known_only(self) -> "HandSplit":
        return replace(self, unknown=self.unknown[:0])


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model() -> Model:
    """Read-only."""
    return tiny_model("llama")


@pytest.fixture(scope="session")
def split() -> HandSplit:
    return HandSplit(known=places()[:10], unknown=places()[10:18])
