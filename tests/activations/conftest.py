"""A tiny model and a recording of it that many tests read."""

import pytest
from small_recordings import SMALL
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.activations.recording import Recording
from interfere.models.model import Model


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def recording(model, tmp_path_factory) -> Recording:
    file = tmp_path_factory.mktemp("recording") / "all.h5"
    return record(model, places(), file, hooks="*", **SMALL)
