"""Old and new facts' loss gradients in one model, and their inner products."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.measures.gradient_kernel import GradientKernel, Optimizer, gradient_kernel
from interfere.models.exact_products import exact_products
from interfere.models.model import Model
from interfere.models.sketched_gradients import NUMBERS, GradientSketcher
from interfere.training.rows import IGNORED, FactRows, Row, collate
from interfere.training.second_moments import Moments, adamw_scale
from interfere.training.train import room

SAMPLE = 8
"""Facts of each side that show which parameters deserve a sketch's numbers."""

MOST_EXACT = 128
"""Facts of both sides together that exact products are offered for."""


def fact_gradients(
    model: Model,
    old: FactSet,
    new: FactSet,
    *,
    second_moments: Moments | None = None,
    epsilon: float = 1e-8,
    numbers: int = NUMBERS,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[Optimizer, GradientKernel]:
    """Gradient kernels of old facts against new ones: "sgd", and "adamw" given its v̂.

    One forward and backward pass over every fact; a fact's gradient is kept as a random
    sketch of `numbers` numbers and is never there in full. Every parameter counts. The
    noise of a cosine shrinks with the root of `numbers`: hold a block to `exact_gradients`
    where a model is new to you.

    Args:
        model: where training starts, float32, in evaluation mode.
        old: facts that may be forgotten: rows of the kernels.
        new: facts that would be trained on: columns.
        second_moments: v̂ of AdamW by parameter name, from `second_moments` of an optimizer
            or `estimate_second_moments`; None: only "sgd".
        epsilon: AdamW's.
        numbers: float32 numbers that a fact's gradient is kept in, for each kernel.
        batch_size: facts run at a time; changes memory and last bits only.
        seed: of the sketch.

    Raises:
        InputError: no facts, a setting below 1, second moments that don't fit, weights that
            aren't float32, or an architecture whose gradients aren't all seen.
    """
    for name, value in {"numbers": numbers, "batch_size": batch_size}.items():
        if value < 1:
            raise InputError(f"{name} must be above 0, got {value}")
    scale = parameter_scale(model, second_moments, epsilon)
    rows = {"old": loss_rows(model, old), "new": loss_rows(model, new)}
    ids, answer = loss_tensors([*rows["old"][:SAMPLE], *rows["new"][:SAMPLE]], model)
    tokens = {t for own in rows.values() for row in own for t in row["input_ids"]}
    sketcher = GradientSketcher(
        model.network,
        ids,
        answer,
        scale=scale,
        numbers=numbers,
        seed=seed,
        tokens=torch.tensor(sorted(tokens)),
    )
    before, after = (_sketches(sketcher, model, own, batch_size) for own in rows.values())
    return {
        optimizer: gradient_kernel(before[optimizer], after[optimizer], old, new, optimizer)
        for optimizer in optimizers(scale)
    }


def exact_gradients(
    model: Model,
    old: FactSet,
    new: FactSet,
    *,
    second_moments: Moments | None = None,
    epsilon: float = 1e-8,
) -> dict[Optimizer, GradientKernel]:
    """The same without a sketch, for blocks such as 32 × 32; all facts in one batch.

    Gradients are formed some columns at a time. Arguments as in `fact_gradients`.

    Raises:
        InputError: as there, or more than 128 facts.
    """
    if len(old) + len(new) > MOST_EXACT:
        raise InputError(
            f"exact products are for {MOST_EXACT} facts at most, got {len(old) + len(new)}; "
            "use fact_gradients for all, and this for a block"
        )
    scale = parameter_scale(model, second_moments, epsilon)
    rows = loss_rows(model, old) + loss_rows(model, new)
    ids, answer = loss_tensors(rows, model)
    kernels: dict[Optimizer, GradientKernel] = {}
    for optimizer in optimizers(scale):
        own = scale if optimizer == "adamw" else None
        products = exact_products(model.network, ids, answer, scale=own)
        arrays = {name: values.numpy() for name, values in products.items()}
        m = len(old)
        kernels[optimizer] = GradientKernel(
            optimizer,
            old,
            new,
            {name: values[:m, m:] for name, values in arrays.items()},
            {name: values.diagonal()[:m] for name, values in arrays.items()},
            {name: values.diagonal()[m:] for name, values in arrays.items()},
        )
    return kernels


def parameter_scale(
    model: Model, second_moments: Moments | None, epsilon: float
) -> dict[str, Tensor] | None:
    """What either side of a product is multiplied by for AdamW; None without its v̂."""
    if second_moments is None:
        return None
    return adamw_scale(model.network, second_moments, epsilon=epsilon)


def optimizers(scale: object) -> tuple[Optimizer, ...]:
    """Whose steps there is a scale for."""
    return ("sgd",) if scale is None else ("sgd", "adamw")


def loss_rows(model: Model, facts: FactSet) -> list[Row]:
    """Every fact as it is trained on."""
    rows = FactRows(facts, model.tokenizer, room(model))
    return [rows[i] for i in range(len(rows))]


def loss_tensors(rows: list[Row], model: Model) -> tuple[Tensor, Tensor]:
    """Token ids, and which of them are the answer's."""
    batch = collate(rows)
    answer = batch["labels"] != IGNORED
    return batch["input_ids"].to(model.device), answer.to(model.device)


def _sketches(
    sketcher: GradientSketcher, model: Model, rows: list[Row], batch_size: int
) -> dict[str, dict[str, Float32[np.ndarray, "facts _"]]]:
    """By optimizer and component a row a fact, in the order of the facts."""
    # By length, so that batches hold little padding.
    order = np.argsort([len(row["input_ids"]) for row in rows], kind="stable")
    found: dict[str, dict[str, np.ndarray]] = {"sgd": {}, "adamw": {}}
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        sketched = sketcher(*loss_tensors([rows[i] for i in places], model))
        for optimizer, kind in (("sgd", sketched.plain), ("adamw", sketched.scaled)):
            for component, values in kind.items():
                whole = found[optimizer].setdefault(
                    component, np.empty((len(rows), values.shape[1]), np.float32)
                )
                whole[places] = values.cpu().numpy()
    return found
