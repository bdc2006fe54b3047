"""Gradient kernels of a study's held-out facts against its new ones, kept once computed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from interfere import cache
from interfere.facts.fact import FactSet
from interfere.interventions.fact_gradients import exact_gradients, fact_gradients
from interfere.measures.gradient_kernel import GradientKernel, Optimizer, agreement
from interfere.models.load import load_model
from interfere.models.model import Model
from interfere.study.preparation import Prepared
from interfere.training.second_moments import estimate_second_moments

Kernels = dict[Optimizer, GradientKernel]

NUMBERS = 1 << 15
"""Of a fact's sketch: 256 KiB a fact for both optimizers, so that 2,000 facts take half a
gibibyte. `sketch_agreement` says whether they are enough."""

BLOCK = 32
"""Old facts, and new facts, whose exact products a sketch is held to."""

WHOLE = "whole"
"""The one component of a kernel that was kept: all parameters together."""


def fact_kernels(prepared: Prepared, keys: str, seed: int) -> Kernels:
    """For SGD and for AdamW: rows are the held-out facts, columns the new ones.

    At the format checkpoint, before training. AdamW's v̂ is estimated on what an arm with
    these keys trains on (`estimate_second_moments`). All parameters count, as in plain
    SFT. Costs about five training passes over these facts; kept in the format checkpoint's
    folder. Natural subjects are the same under every seed, and so is their kernel.

    Args:
        prepared: the study's common start.
        keys: of the new facts.
        seed: of synthetic keys.
    """
    old, new = prepared.split.held_out, prepared.new_facts(keys, seed)
    path = _path(prepared, keys, seed)
    if not path.is_file():
        model = _start(prepared)
        found = fact_gradients(
            model, old, new, second_moments=_moments(prepared, model, new), numbers=NUMBERS
        )
        with cache.whole_file(path) as draft, draft.open("wb") as file:
            np.savez(file, **_arrays(found))  # type: ignore[arg-type]
    return _read(path, old, new)


def sketch_agreement(prepared: Prepared, keys: str, seed: int) -> pd.DataFrame:
    """Correlations of the sketched with the exact products on a block of BLOCK × BLOCK.

    Columns: optimizer, old, new (facts of the block), product, cosine (see `agreement`).
    """
    kernels = fact_kernels(prepared, keys, seed)
    sides = kernels["sgd"].old[:BLOCK], kernels["sgd"].new[:BLOCK]
    model = _start(prepared)
    moments = _moments(prepared, model, prepared.new_facts(keys, seed))
    exact = exact_gradients(model, *sides, second_moments=moments)
    tables = []
    for optimizer, kernel in kernels.items():
        part = kernel.part(sides[0].ids, sides[1].ids)
        table = agreement(part, exact[optimizer].whole())
        table = table[table["component"] == "all"].drop(columns="component")
        sizes = {"old": len(sides[0]), "new": len(sides[1])}
        tables.append(table.assign(optimizer=optimizer, **sizes))
    names = ["optimizer", "old", "new", "product", "cosine"]
    return pd.concat(tables, ignore_index=True)[names]


def _start(prepared: Prepared) -> Model:
    """In float32, whatever the study's: products of gradients need it."""
    return load_model(
        str(prepared.folder / "model"), device=prepared.study.device, dtype="float32"
    )


def _moments(prepared: Prepared, model: Model, new: FactSet) -> Mapping[str, torch.Tensor]:
    return estimate_second_moments(
        model,
        prepared.split.with_unknown(new).training,
        batch_size=prepared.study.train.batch_size,
    )


def _path(prepared: Prepared, keys: str, seed: int) -> Path:
    """Named after all that determines it beside the format checkpoint."""
    new = prepared.new_facts(keys, seed)
    asked = [
        prepared.split.held_out.digest,
        prepared.split.with_unknown(new).training.digest,
        new.digest,
        prepared.study.train.batch_size,
        NUMBERS,
        torch.get_num_threads(),
    ]
    return prepared.folder / f"gradients-{keys}-{cache.digest(asked)[:8]}.npz"


def _arrays(kernels: Kernels) -> dict[str, np.ndarray]:
    found = {}
    for optimizer, kernel in kernels.items():
        whole = kernel.whole()
        found[f"{optimizer}-product"] = whole.products[WHOLE]
        found[f"{optimizer}-old"] = whole.old_squares[WHOLE]
        found[f"{optimizer}-new"] = whole.new_squares[WHOLE]
    return found


def _read(path: Path, old: FactSet, new: FactSet) -> Kernels:
    optimizers: tuple[Optimizer, ...] = ("sgd", "adamw")
    with np.load(path) as kept:
        return {
            name: GradientKernel(
                name,
                old,
                new,
                {WHOLE: kept[f"{name}-product"]},
                {WHOLE: kept[f"{name}-old"]},
                {WHOLE: kept[f"{name}-new"]},
            )
            for name in optimizers
        }
