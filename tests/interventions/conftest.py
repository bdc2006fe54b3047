"""A tiny model before, and after changes that are known."""

import pytest
import torch
from tiny_models import tiny_model

from interfere.models.model import Model


def altered(model: Model, *, only: str, size: float = 0.3) -> Model:
    """A copy with noise on the parameters whose names begin so."""
    twin = model.copy(f"{model.name}, {only} altered")
    generator = torch.Generator().manual_seed(1)
    touched = 0
    for name, value in twin.network.named_parameters():
        if name.startswith(only):
            value.data += size * torch.randn(value.shape, generator=generator)
            touched += 1
    assert touched
    return twin


@pytest.fixture(scope="session")
def before() -> Model:
    """Read-only."""
    return tiny_model()


@pytest.fixture(scope="session")
def after(before) -> Model:
    """All blocks differ; embedding, final norm and unembedding do not."""
    return altered(before, only="model.layers", size=0.05)


@pytest.fixture(scope="session")
def alter():
    """Makes a copy that differs in named parameters only."""
    return altered
