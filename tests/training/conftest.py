"""A tiny Llama, and a split made by hand."""

from dataclasses import replace

import pytest
import torch
from tiny_models import places, tiny_model
from transformers import TrainingArguments

from interfere.knowledge.splits import Split
from interfere.models.model import Model
from interfere.training.cost import Cost
from interfere.training.mitigation import Start
from interfere.training.rows import FactRows, collate


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


@pytest.fixture
def begin(split):
    """What a mitigation is told when the model is about to be trained on the split."""

    def start(model, **changes):
        facts = split.training
        return replace(
            Start(
                model.network,
                model.tokenizer,
                FactRows(facts, model.tokenizer),
                range(len(split.known)),
                split.others,
                None,
                0,
                collate,
                TrainingArguments(report_to="none", use_cpu=True),
                Cost(),
            ),
            **changes,
        )

    return start


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
