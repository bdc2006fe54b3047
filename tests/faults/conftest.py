"""A small recording to break, and processes to break it with."""

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.models.model import Model

SIZES = {"hooks": "*", "chunk_facts": 7, "batch_facts": 7}


@pytest.fixture(scope="session")
def model() -> Model:
    """Wide, so that a chunk is large and its writing takes a while."""
    return tiny_model(hidden_size=512, intermediate_size=64)


@pytest.fixture(autouse=True)
def single_thread():
    """A forked process inherits no threads of torch's."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def whole(model, tmp_path_factory) -> Path:
    """The uninterrupted recording."""
    torch.set_num_threads(1)
    return record(model, places(), tmp_path_factory.mktemp("whole") / "a.h5", **SIZES).path


def fork(work: Callable[[], None]) -> int:
    """Start `work` in a copy of this process; its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """Wait for a forked process; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int) -> int:
    """SIGKILL a forked process if it still runs; as `ended`."""
    os.kill(child, signal.SIGKILL)
    return ended(child)
