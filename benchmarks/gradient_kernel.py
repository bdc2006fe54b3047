"""Gradient kernels of old and new facts against one training pass over the same facts.

Claims: kernels for SGD and AdamW of 500 old × 500 new facts on SmolLM2 take at most 4 times one
training pass (forward and backward of the answer-only loss, every parameter trained, in the same
batches) over these 1,000 facts; their products correlate with the exact ones on a block of 32 × 32
at .95 or more. Sides run by turns; the ratio is the median of the turns' own. The second moments
are estimated beforehand: a run has them in its optimizer.
"""

import os

import torch
import typer
from sides import alternate, ratio, show

from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames
from interfere.interventions.fact_gradients import exact_gradients, fact_gradients
from interfere.measures.gradient_kernel import agreement
from interfere.models.load import load_model
from interfere.models.model import Model
from interfere.models.sketched_gradients import NUMBERS
from interfere.training.narrowed_head import narrowed_head
from interfere.training.rows import IGNORED, FactRows, collate
from interfere.training.second_moments import estimate_second_moments

CLAIM, AGREEMENT = 4.0, 0.95


def main(
    model: str = "smollm2-135m",
    old: int = 500,
    new: int = 500,
    block: int = 32,
    numbers: int = NUMBERS,
    batch_size: int = 32,
    turns: int = 3,
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print times, ratio and agreement; exit with 1 if a claim does not hold."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    cities = geonames(["P17"], limit=4 * (old + new))
    large, small = cities[: 2 * old : 2], cities[-2 * new :: 2]
    moments = estimate_second_moments(loaded, large + small, batch_size=batch_size)

    settings = {"second_moments": moments, "numbers": numbers, "batch_size": batch_size}
    seconds, found = alternate(
        {
            "training pass": lambda: pass_over(loaded, large + small, batch_size),
            "SGD and AdamW": lambda: fact_gradients(loaded, large, small, **settings),
            "SGD alone": lambda: fact_gradients(
                loaded, large, small, numbers=numbers, batch_size=batch_size
            ),
        },
        turns,
    )
    show(f"{model}, kernel of {old} × {new} facts", seconds, old + new, "facts")
    holds = []
    for name in ("SGD and AdamW", "SGD alone"):
        times = 1 / ratio(seconds, "training pass", name)
        print(f"{name}: {times:.2f} training passes (claim: at most {CLAIM:.0f})")
        holds.append(times <= CLAIM)
    print(found["SGD and AdamW"]["sgd"].shares().round(3).to_string(index=False))

    sides = large[:block], small[:block]
    exact = exact_gradients(loaded, *sides, second_moments=moments)
    sketched = fact_gradients(loaded, *sides, **settings)
    for optimizer, kernel in sketched.items():
        table = agreement(kernel, exact[optimizer]).set_index("component")
        print(f"{optimizer}: correlation with the exact block of {block} × {block}")
        print(table.round(3).to_string())
        holds.append(bool((table.loc["all"] >= AGREEMENT).all()))
    raise typer.Exit(int(not all(holds)))


def pass_over(model: Model, facts: FactSet, batch_size: int) -> None:
    """Gradients of a training epoch, batched by length, and no optimizer step."""
    every = FactRows(facts, model.tokenizer)
    rows = sorted((every[i] for i in range(len(every))), key=lambda r: len(r["input_ids"]))
    network = model.network
    for start in range(0, len(rows), batch_size):
        batch = collate(rows[start : start + batch_size])
        labels = batch.pop("labels")
        answer = torch.nn.functional.pad(labels[:, 1:] != IGNORED, (0, 1))
        network.zero_grad()
        with narrowed_head(network, answer):
            logits = network(**batch, use_cache=False).logits
        targets = labels[:, 1:][answer[:, :-1]]
        torch.nn.functional.cross_entropy(logits, targets).backward()
    network.zero_grad()


if __name__ == "__main__":
    typer.run(main)
