"""Gradients of a study's held-out facts against its new ones, kept once computed."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from interfere import cache
from interfere.facts.fact import FactSet
from interfere.interventions.fact_gradients import exact_gradients, fact_gradients
from interfere.interventions.gradient_harm import GradientHarm, gradient_harm
from interfere.measures.gradient_kernel import GradientKernel, Optimizer, agreement
from interfere.models.load import load_model
from interfere.models.model import Model
from interfere.study.preparation import Prepared
from interfere.training.second_moments import estimate_second_moments

OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "adamw")

Arrays = Mapping[str, np.ndarray]

SHOWN = 200
"""Old facts, and new facts, of a kernel of pairs: more are not legible in a picture, and
sketches of these take 800 MiB meanwhile."""

BLOCK = 32
"""Old facts, and new facts, whose exact products a sketch is held to."""


def kept_harm(prepared: Prepared, keys: str, seed: int) -> dict[Optimizer, GradientHarm]:
    """`gradient_harm` of all held-out and all new facts, for SGD and AdamW.

    At the format checkpoint, before training. AdamW's v̂ is estimated on what an arm with
    these keys trains on (`estimate_second_moments`). All parameters count, as in plain
    SFT. Natural subjects are the same under every seed, and so is this.

    Args:
        prepared: the study's common start.
        keys: of the new facts.
        seed: of synthetic keys.
    """
    old, new = prepared.split.held_out, prepared.new_facts(keys, seed)
    trained = prepared.split.with_unknown(new).training

    def compute() -> Arrays:
        model = _start(prepared)
        found = gradient_harm(
            model, old, new, second_moments=_moments(prepared, model, trained)
        )
        return {
            f"{name}-{part}": getattr(harm, part)
            for name, harm in found.items()
            for part in ("risk", "cosine", "blame")
        }

    kept = _kept(prepared, "harm", keys, (old, new, trained), compute)
    return {
        name: GradientHarm(
            name, *(kept[f"{name}-{part}"] for part in ("risk", "cosine", "blame"))
        )
        for name in OPTIMIZERS
    }


def kept_kernels(
    prepared: Prepared, keys: str, seed: int
) -> dict[Optimizer, GradientKernel]:
    """`fact_gradients` of up to SHOWN old and SHOWN new facts, drawn at random.

    All parameters are added up into one component, "whole". Arguments as in `kept_harm`.
    """
    every = prepared.new_facts(keys, seed)
    old, new = _some(prepared.split.held_out), _some(every)
    trained = prepared.split.with_unknown(every).training

    def compute() -> Arrays:
        model = _start(prepared)
        moments = _moments(prepared, model, trained)
        found = fact_gradients(model, old, new, second_moments=moments)
        arrays = {}
        for name, kernel in found.items():
            whole = kernel.whole()
            arrays[f"{name}-product"] = whole.products["whole"]
            arrays[f"{name}-old"] = whole.old_squares["whole"]
            arrays[f"{name}-new"] = whole.new_squares["whole"]
        return arrays

    kept = _kept(prepared, "kernel", keys, (old, new, trained), compute)
    return {
        name: GradientKernel(
            name,
            old,
            new,
            *({"whole": kept[f"{name}-{part}"]} for part in ("product", "old", "new")),
        )
        for name in OPTIMIZERS
    }


def sketch_agreement(prepared: Prepared, keys: str, seed: int) -> pd.DataFrame:
    """Correlations of `kept_kernels` with the exact products on a block of BLOCK × BLOCK.

    Columns: optimizer, old, new (facts of the block), product, cosine (see `agreement`).
    """
    kernels = kept_kernels(prepared, keys, seed)
    old, new = (side[:BLOCK] for side in (kernels["sgd"].old, kernels["sgd"].new))
    model = _start(prepared)
    every = prepared.new_facts(keys, seed)
    moments = _moments(prepared, model, prepared.split.with_unknown(every).training)
    exact = exact_gradients(model, old, new, second_moments=moments)
    rows = []
    for name, kernel in kernels.items():
        table = agreement(kernel.part(old.ids, new.ids), exact[name].whole())
        found = table.set_index("component").loc["all"]
        rows.append({"optimizer": name, "old": len(old), "new": len(new), **found})
    return pd.DataFrame(rows)


def _start(prepared: Prepared) -> Model:
    """In float32, whatever the study's: products of gradients need it."""
    return load_model(
        str(prepared.folder / "model"), device=prepared.study.device, dtype="float32"
    )


def _moments(prepared: Prepared, model: Model, trained: FactSet) -> dict[str, torch.Tensor]:
    batch_size = prepared.study.train.batch_size
    return estimate_second_moments(model, trained, batch_size=batch_size)


def _some(facts: FactSet) -> FactSet:
    """Up to SHOWN facts, in their order; the same in each call."""
    generator = np.random.default_rng(0)
    chosen = generator.choice(len(facts), min(SHOWN, len(facts)), replace=False)
    return facts.select(facts[int(place)].id for place in np.sort(chosen))


def _kept(
    prepared: Prepared,
    what: str,
    keys: str,
    facts: Sequence[FactSet],
    compute: Callable[[], Arrays],
) -> Arrays:
    """From the format checkpoint's folder, by all that determines it beside that."""
    asked = [
        [own.digest for own in facts],
        prepared.study.train.batch_size,
        torch.get_num_threads(),
    ]
    path = prepared.folder / f"gradient-{what}-{keys}-{cache.digest(asked)[:8]}.npz"
    if not path.is_file():
        arrays = compute()
        with cache.whole_file(path) as draft, draft.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    with np.load(path) as kept:
        return dict(kept)
