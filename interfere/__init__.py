"""What fine-tuning on new facts does to old ones: record, measure, mitigate."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interfere.activations.recorder import record
    from interfere.activations.recording import Recording, open_recording
    from interfere.errors import InputError
    from interfere.facts.chat import conversations
    from interfere.facts.fact import Fact, FactSet
    from interfere.facts.keys import synthetic_keys
    from interfere.facts.load import load_facts
    from interfere.interventions.activation_patching import activation_patching
    from interfere.interventions.common_shift_removal import CommonShiftRemoval
    from interfere.interventions.counterfactual_shift import counterfactual_shift
    from interfere.interventions.fact_gradients import exact_gradients, fact_gradients
    from interfere.interventions.fact_retention import FactRetentionCallback
    from interfere.interventions.gradient_harm import GradientHarm, gradient_harm
    from interfere.interventions.interpolation import WiseFT
    from interfere.interventions.leave_out import blame_effect, leave_out
    from interfere.interventions.outcomes import outcomes_table
    from interfere.interventions.patching_table import patching_table
    from interfere.interventions.recovery import recovery
    from interfere.interventions.remove_direction import remove_directions
    from interfere.interventions.repairs import DirectionRemoval
    from interfere.knowledge.knowledge import Knowledge
    from interfere.knowledge.slick import categorise
    from interfere.knowledge.splits import Split
    from interfere.measures.all_pairs_cka import all_pairs_cka
    from interfere.measures.attention import subject_attention
    from interfere.measures.calibration import calibration
    from interfere.measures.comparison import Comparison, compare
    from interfere.measures.embedding_rows import embedding_rows
    from interfere.measures.gradient_blame import blame, risk
    from interfere.measures.gradient_kernel import agreement
    from interfere.measures.holm import holm
    from interfere.measures.interference import Interference, interference
    from interfere.measures.intruders import intruder_table
    from interfere.measures.logit_lens import lens_change, logit_lens
    from interfere.measures.lora import merged, read_adapter
    from interfere.measures.mutual_knn import mutual_knn
    from interfere.measures.nearest_facts import nearest_new_facts
    from interfere.measures.new_against_old import new_against_old
    from interfere.measures.permutation import sign_flip_test, two_sample_test
    from interfere.measures.predict_forgetting import predict_forgetting
    from interfere.measures.probe import probes
    from interfere.measures.probe_transfer import probe_transfer
    from interfere.measures.procrustes import procrustes
    from interfere.measures.rbf_cka import rbf_cka
    from interfere.measures.rsa import rsa
    from interfere.measures.side_effects import by_relation, perplexity_change
    from interfere.measures.streaming_cka import StreamingCKA, streaming_cka
    from interfere.measures.subspace_overlap import overlap
    from interfere.measures.sureness import confident_errors, sureness
    from interfere.measures.svcca import svcca
    from interfere.measures.token_overlap import subject_overlap
    from interfere.measures.weight_delta import adapter_deltas, delta_table, weight_deltas
    from interfere.models.confidence import confidence
    from interfere.models.load import load_model
    from interfere.models.model import Model
    from interfere.models.perplexity import perplexity
    from interfere.training.chat_rows import chat_rows
    from interfere.training.ewc import EWC
    from interfere.training.freezing import Freezing
    from interfere.training.gradient_projection import GradientProjection
    from interfere.training.known_patch import KnownPatch
    from interfere.training.l2_anchor import L2Anchor
    from interfere.training.lora import LoRA
    from interfere.training.replay import Replay
    from interfere.training.second_moments import estimate_second_moments
    from interfere.training.self_distillation import SelfDistillation
    from interfere.training.stability_stopping import StabilityStopping
    from interfere.training.targeted_distillation import TargetedDistillation
    from interfere.training.train import format_checkpoint, train
    from interfere.training.trainer import InterferenceTrainer

_HOMES = {
    "CommonShiftRemoval": "interventions.common_shift_removal",
    "Comparison": "measures.comparison",
    "DirectionRemoval": "interventions.repairs",
    "EWC": "training.ewc",
    "Fact": "facts.fact",
    "FactRetentionCallback": "interventions.fact_retention",
    "FactSet": "facts.fact",
    "Freezing": "training.freezing",
    "GradientHarm": "interventions.gradient_harm",
    "GradientProjection": "training.gradient_projection",
    "InputError": "errors",
    "Interference": "measures.interference",
    "InterferenceTrainer": "training.trainer",
    "Knowledge": "knowledge.knowledge",
    "KnownPatch": "training.known_patch",
    "L2Anchor": "training.l2_anchor",
    "LoRA": "training.lora",
    "Model": "models.model",
    "Recording": "activations.recording",
    "Replay": "training.replay",
    "SelfDistillation": "training.self_distillation",
    "Split": "knowledge.splits",
    "StabilityStopping": "training.stability_stopping",
    "StreamingCKA": "measures.streaming_cka",
    "TargetedDistillation": "training.targeted_distillation",
    "WiseFT": "interventions.interpolation",
    "activation_patching": "interventions.activation_patching",
    "adapter_deltas": "measures.weight_delta",
    "agreement": "measures.gradient_kernel",
    "all_pairs_cka": "measures.all_pairs_cka",
    "blame": "measures.gradient_blame",
    "blame_effect": "interventions.leave_out",
    "by_relation": "measures.side_effects",
    "calibration": "measures.calibration",
    "categorise": "knowledge.slick",
    "chat_rows": "training.chat_rows",
    "compare": "measures.comparison",
    "confidence": "models.confidence",
    "confident_errors": "measures.sureness",
    "conversations": "facts.chat",
    "counterfactual_shift": "interventions.counterfactual_shift",
    "delta_table": "measures.weight_delta",
    "embedding_rows": "measures.embedding_rows",
    "estimate_second_moments": "training.second_moments",
    "exact_gradients": "interventions.fact_gradients",
    "fact_gradients": "interventions.fact_gradients",
    "format_checkpoint": "training.train",
    "gradient_harm": "interventions.gradient_harm",
    "holm": "measures.holm",
    "interference": "measures.interference",
    "intruder_table": "measures.intruders",
    "leave_out": "interventions.leave_out",
    "lens_change": "measures.logit_lens",
    "load_facts": "facts.load",
    "load_model": "models.load",
    "logit_lens": "measures.logit_lens",
    "merged": "measures.lora",
    "mutual_knn": "measures.mutual_knn",
    "nearest_new_facts": "measures.nearest_facts",
    "new_against_old": "measures.new_against_old",
    "open_recording": "activations.recording",
    "outcomes_table": "interventions.outcomes",
    "overlap": "measures.subspace_overlap",
    "patching_table": "interventions.patching_table",
    "perplexity": "models.perplexity",
    "perplexity_change": "measures.side_effects",
    "predict_forgetting": "measures.predict_forgetting",
    "probe_transfer": "measures.probe_transfer",
    "probes": "measures.probe",
    "procrustes": "measures.procrustes",
    "rbf_cka": "measures.rbf_cka",
    "read_adapter": "measures.lora",
    "record": "activations.recorder",
    "recovery": "interventions.recovery",
    "remove_directions": "interventions.remove_direction",
    "risk": "measures.gradient_blame",
    "rsa": "measures.rsa",
    "sign_flip_test": "measures.permutation",
    "streaming_cka": "measures.streaming_cka",
    "subject_attention": "measures.attention",
    "subject_overlap": "measures.token_overlap",
    "sureness": "measures.sureness",
    "svcca": "measures.svcca",
    "synthetic_keys": "facts.keys",
    "train": "training.train",
    "two_sample_test": "measures.permutation",
    "weight_deltas": "measures.weight_delta",
}
"""Where each public name lives: imported when first used, so that `import` is quick."""

__all__ = [
    "EWC",
    "CommonShiftRemoval",
    "Comparison",
    "DirectionRemoval",
    "Fact",
    "FactRetentionCallback",
    "FactSet",
    "Freezing",
    "GradientHarm",
    "GradientProjection",
    "InputError",
    "Interference",
    "InterferenceTrainer",
    "Knowledge",
    "KnownPatch",
    "L2Anchor",
    "LoRA",
    "Model",
    "Recording",
    "Replay",
    "SelfDistillation",
    "Split",
    "StabilityStopping",
    "StreamingCKA",
    "TargetedDistillation",
    "WiseFT",
    "activation_patching",
    "adapter_deltas",
    "agreement",
    "all_pairs_cka",
    "blame",
    "blame_effect",
    "by_relation",
    "calibration",
    "categorise",
    "chat_rows",
    "compare",
    "confidence",
    "confident_errors",
    "conversations",
    "counterfactual_shift",
    "delta_table",
    "embedding_rows",
    "estimate_second_moments",
    "exact_gradients",
    "fact_gradients",
    "format_checkpoint",
    "gradient_harm",
    "holm",
    "interference",
    "intruder_table",
    "leave_out",
    "lens_change",
    "load_facts",
    "load_model",
    "logit_lens",
    "merged",
    "mutual_knn",
    "nearest_new_facts",
    "new_against_old",
    "open_recording",
    "outcomes_table",
    "overlap",
    "patching_table",
    "perplexity",
    "perplexity_change",
    "predict_forgetting",
    "probe_transfer",
    "probes",
    "procrustes",
    "rbf_cka",
    "read_adapter",
    "record",
    "recovery",
    "remove_directions",
    "risk",
    "rsa",
    "sign_flip_test",
    "streaming_cka",
    "subject_attention",
    "subject_overlap",
    "sureness",
    "svcca",
    "synthetic_keys",
    "train",
    "two_sample_test",
    "weight_deltas",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'interfere' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"interfere.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
