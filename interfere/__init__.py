"""What fine-tuning on new facts does to old ones: record, measure, mitigate."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interfere.activations.recorder import record
    from interfere.activations.recording import Recording, open_recording
    from interfere.errors import InputError
    from interfere.facts.fact import Fact, FactSet
    from interfere.facts.keys import synthetic_keys
    from interfere.facts.load import load_facts
    from interfere.knowledge.knowledge import Knowledge
    from interfere.knowledge.slick import categorise
    from interfere.knowledge.splits import Split
    from interfere.measures.comparison import Comparison, compare
    from interfere.measures.interference import Interference, interference
    from interfere.measures.subspace_overlap import overlap
    from interfere.models.load import load_model
    from interfere.models.model import Model
    from interfere.training.freezing import Freezing
    from interfere.training.self_distillation import SelfDistillation
    from interfere.training.train import format_checkpoint, train
    from interfere.training.trainer import InterferenceTrainer

_HOMES = {
    "Comparison": "measures.comparison",
    "Fact": "facts.fact",
    "FactSet": "facts.fact",
    "Freezing": "training.freezing",
    "InputError": "errors",
    "Interference": "measures.interference",
    "InterferenceTrainer": "training.trainer",
    "Knowledge": "knowledge.knowledge",
    "Model": "models.model",
    "Recording": "activations.recording",
    "SelfDistillation": "training.self_distillation",
    "Split": "knowledge.splits",
    "categorise": "knowledge.slick",
    "compare": "measures.comparison",
    "format_checkpoint": "training.train",
    "interference": "measures.interference",
    "load_facts": "facts.load",
    "load_model": "models.load",
    "open_recording": "activations.recording",
    "overlap": "measures.subspace_overlap",
    "record": "activations.recorder",
    "synthetic_keys": "facts.keys",
    "train": "training.train",
}
"""Where each public name lives: imported when first used, so that `import` is quick."""

__all__ = [
    "Comparison",
    "Fact",
    "FactSet",
    "Freezing",
    "InputError",
    "Interference",
    "InterferenceTrainer",
    "Knowledge",
    "Model",
    "Recording",
    "SelfDistillation",
    "Split",
    "categorise",
    "compare",
    "format_checkpoint",
    "interference",
    "load_facts",
    "load_model",
    "open_recording",
    "overlap",
    "record",
    "synthetic_keys",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'interfere' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"interfere.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
