"""A tiny Llama, and a split made by hand."""

import pytest
import torch
from tiny_models import places, tiny_model

from interfere.knowledge.splits import Split
from interfere.models.model import Model


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
def split() -> Split:
    facts = places()
    return Split(
        known=facts[:10],
        unknown=facts[10:18],
        validation=facts[18:20],
        held_out=facts[20:26],
        control=facts[:0],
        others=facts[26:30],
        notes=(),
        seed=0,
    )
