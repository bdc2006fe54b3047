"""What a study would take, before anything is loaded."""

import shutil
import time
from dataclasses import dataclass

import torch

from interfere import cache
from interfere.errors import InputError
from interfere.study.search import tries
from interfere.study.selection import check_arm
from interfere.study.study import Architecture, Study
from interfere.training.train import step_count

TOKENS_A_FACT = 22
"""A zero-shot prompt with its answer: 17 to 25 in the tokenizers that we tried."""

TRIE = 1.5
"""Forward passes a scored question: the canonical answer's, and a share of other forms."""

GPU_FLOPS = 2e14
"""Assumed of an H100 in bfloat16: a fifth of its peak."""

BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Estimate:
    """Orders of magnitude, from the configuration alone."""

    study: str
    runs: int
    steps: int
    """Optimizer steps a run."""
    rows: int
    """Facts trained on."""
    memory: float
    """Bytes a run at once: weights, gradients, AdamW, teacher, activations."""
    disk: float
    """Bytes of recordings, the format checkpoint and the base."""
    flops: dict[str, float]
    """Floating-point operations by stage."""
    free_disk: float
    hours: float
    """On this machine in float32, by a measured matrix product."""
    gpu_hours: float
    """At GPU_FLOPS."""


def estimate(study: Study) -> Estimate:
    """Reckon plan, memory, disk and cost.

    Raises:
        InputError: the study has no `architecture` section, or an unknown mitigation.
    """
    if study.architecture is None:
        raise InputError(
            f"study {study.name}: a dry run loads no model, so it needs the section "
            "architecture (parameters, layers, hidden, vocabulary)"
        )
    for arm in study.arms:
        check_arm(arm)
    sizes, net = study.split, study.architecture
    rows = sizes.known + sizes.unknown
    steps = step_count(rows, study.train.epochs, study.train.batch_size)
    tried = sum(tries(arm, study.select.search) for arm in study.arms)
    runs = len(study.arms) * len(study.seeds) + tried * len(study.select.seeds)
    flops = _flops(study, net, rows, steps, runs)
    total = sum(flops.values())
    return Estimate(
        study=study.name,
        runs=runs,
        steps=steps,
        rows=rows,
        memory=_memory(study, net),
        disk=_disk(study, net, runs),
        flops=flops,
        free_disk=float(shutil.disk_usage(cache.home()).free),
        hours=total / _measured_rate() / 3600,
        gpu_hours=total / GPU_FLOPS / 3600,
    )


def _flops(
    study: Study, net: Architecture, rows: int, steps: int, runs: int
) -> dict[str, float]:
    forward = 2.0 * net.parameters * TOKENS_A_FACT
    asked = len(study.facts.relations) * (study.facts.limit or 100_000)
    sizes = study.split
    evaluations = study.evaluate.points + len(study.evaluate.early) + 1
    a_look = sum(getattr(sizes, name) for name in study.evaluate.sets)
    distilled = sum(arm.mitigation == "self-distillation" for arm in study.arms)
    trained = forward * steps * study.train.batch_size
    recordings = runs * (1 + len(study.evaluate.drift_epochs)) * sizes.held_out
    return {
        "categorise": asked * study.categorise.prompts * forward * TRIE,
        "train": trained * (3 * runs + distilled * len(study.seeds)),
        "evaluate": runs * evaluations * a_look * forward * TRIE,
        "record": recordings * forward,
        "rank": runs * 2 * sizes.held_out * study.evaluate.rank_among * forward / 6,
    }


def _memory(study: Study, net: Architecture) -> float:
    weights = BYTES[study.dtype] * net.parameters
    states = 12.0 * net.parameters  # float32 gradients and AdamW's two moments
    teacher = any(arm.mitigation == "self-distillation" for arm in study.arms) * weights
    tokens = study.train.batch_size * TOKENS_A_FACT
    activations = 4.0 * tokens * net.layers * 34 * net.hidden
    logits = 4.0 * 3 * 512 * net.vocabulary
    return weights + states + teacher + activations + logits


def _disk(study: Study, net: Architecture, runs: int) -> float:
    hooks = sum(net.layers if "*" in hook else 1 for hook in study.record.hooks)
    a_fact = hooks * len(study.record.positions) * net.hidden * BYTES[study.dtype]
    sizes = study.split
    keys = {arm.keys for arm in study.arms}
    before = 2 * sizes.held_out + sizes.control + sizes.unknown
    before += sizes.unknown * sum(len(study.seeds) if k != "natural" else 1 for k in keys)
    models = 2.0 + runs * study.keep_weights
    return (
        a_fact * (before + runs * sizes.held_out)
        + models * BYTES[study.dtype] * net.parameters
    )


def _measured_rate() -> float:
    """float32 operations a second of this machine, by a matrix product."""
    size = 1024
    square = torch.ones(size, size)
    square @ square
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 0.3:
        square @ square
        count += 1
    # Training reaches about half of what one large product does.
    return 0.5 * count * 2 * size**3 / (time.perf_counter() - began)
