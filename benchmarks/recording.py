"""Recording to disk against the bare forward pass, and against a cache saved by torch.

Claims, for the residual stream at ten layers and three positions: at most 1.05 times the bare
Hugging Face forward pass (PyTorch's attention, with logits) over the same batches; at most .85
times when no score is asked for; at least twice as fast as `run_with_cache` of the same hooks on
TransformerLens' bridge followed by `torch.save` of each batch, which takes the facts as they come.
The bridge is also given the recorder's own batches, which are ordered by length. Its rows end
where the recorder's do; it computes logits, as `run_with_cache` does. Sides run by turns; each
ratio is the median of the turns' own ratios, which a machine that grows slower does not move.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from sides import alternate, ratio, show
from torch import nn

from interfere.activations.plan import POSITIONS, Plan, make_plan
from interfere.activations.recorder import BATCH_FACTS, CHUNK_FACTS, record
from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames
from interfere.models.load import load_model
from interfere.models.model import Model

WITH_SCORES, BODY_ALONE, BRIDGE = 1.05, 0.85, 2.0
ORDINARY = "run_with_cache, torch.save"


def main(
    model: str = "smollm2-135m",
    facts: int = 2000,
    bridge_facts: int = 1000,
    layers: int = 10,
    turns: int = 9,
    threads: int = os.cpu_count() or 1,
    forward: bool = True,
    against_cache: bool = True,
) -> None:
    """Print the times and their ratios; exit with 1 if a claim does not hold."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    every = (
        np.linspace(0, loaded.layers - 1, min(layers, loaded.layers)).round().astype(int)
    )
    hooks = [f"blocks.{layer}.hook_out" for layer in every]
    asked = geonames(["P17"], limit=max(facts, bridge_facts))
    record(loaded, asked[:32], Path(tempfile.mkdtemp()) / "first.h5")  # checks the hooks
    holds = []
    with tempfile.TemporaryDirectory() as folder:
        if forward:
            holds += against_forward(loaded, asked[:facts], hooks, Path(folder), turns)
        if against_cache:
            some = asked[:bridge_facts]
            holds.append(against_bridge(loaded, some, hooks, Path(folder), turns))
    raise typer.Exit(int(not all(holds)))


def against_forward(
    model: Model, facts: FactSet, hooks: list[str], folder: Path, turns: int
) -> list[bool]:
    """Whether both claims against the bare forward pass hold."""
    plan = batches_of(model.tokenizer, facts)
    found, _ = alternate(
        {
            "bare forward": lambda: bare(model.network, plan),
            "recorded": lambda: to_disk(model, facts, hooks, folder, scores=True),
            "recorded, no score": lambda: to_disk(
                model, facts, hooks, folder, scores=False
            ),
        },
        turns,
    )
    show(f"{model.name}, {len(hooks)} layers, 3 positions", found, len(facts), "facts")
    holds = []
    for name, claim in (("recorded", WITH_SCORES), ("recorded, no score", BODY_ALONE)):
        share = ratio(found, name, "bare forward")
        print(f"{name}: {share:.3f} of the bare forward (claim: at most {claim})")
        holds.append(share <= claim)
    return holds


def against_bridge(
    model: Model, facts: FactSet, hooks: list[str], folder: Path, turns: int
) -> bool:
    """Whether the claim against the bridge holds."""
    plan, bridge = batches_of(model.tokenizer, facts, scores=False), model.hooked()
    in_order, by_length = (f"{ORDINARY}, {how}" for how in ("facts in order", "by length"))
    found, _ = alternate(
        {
            in_order: lambda: cached(bridge, as_they_come(plan), hooks, folder),
            by_length: lambda: cached(bridge, batches(plan), hooks, folder),
            "recorded, no score": lambda: to_disk(
                model, facts, hooks, folder, scores=False
            ),
        },
        turns,
    )
    show(f"{model.name}, {len(hooks)} layers, 3 positions", found, len(facts), "facts")
    faster, same = (
        ratio(found, side, "recorded, no score") for side in (in_order, by_length)
    )
    print(f"{faster:.2f} times as fast as the bridge (claim: at least {BRIDGE:.0f})")
    print(f"{same:.2f} times as fast as the bridge on the recorder's own batches")
    return faster >= BRIDGE


def to_disk(
    model: Model, facts: FactSet, hooks: list[str], folder: Path, *, scores: bool
) -> None:
    """A recording from nothing, which is then removed."""
    file = folder / "a.h5"
    record(model, facts, file, hooks=hooks, scores=scores)
    file.unlink()


def batches_of(tokenizer: Any, facts: Any, *, scores: bool = True) -> Plan:
    """The batches that `record` runs."""
    return make_plan(
        tokenizer,
        facts,
        POSITIONS,
        chunk_facts=CHUNK_FACTS,
        batch_facts=BATCH_FACTS,
        scores=scores,
    )


def batches(plan: Plan) -> list[torch.Tensor]:
    """Token ids of every batch, padded on the right."""
    return [padded(plan, rows) for chunk in plan.chunks for rows in plan.batches(chunk)]


def as_they_come(plan: Plan) -> list[torch.Tensor]:
    """As many facts a batch, in their own order."""
    rows = range(len(plan.tokens))
    return [
        padded(plan, rows[begin : begin + BATCH_FACTS])
        for begin in range(0, len(rows), BATCH_FACTS)
    ]


def padded(plan: Plan, rows: Sequence[int]) -> torch.Tensor:
    """Token ids of one batch, up to the last one that something kept needs."""
    tokens = [torch.tensor(plan.tokens[row][: plan.upto[row]]) for row in rows]
    return nn.utils.rnn.pad_sequence(tokens, batch_first=True)


@torch.inference_mode()
def bare(network: nn.Module, plan: Plan) -> None:
    """Logits of every batch, and nothing kept."""
    for ids in batches(plan):
        network(input_ids=ids, use_cache=False)


@torch.inference_mode()
def cached(
    bridge: Any, batches: list[torch.Tensor], hooks: list[str], folder: Path
) -> None:
    """The usual way: what the hooks show of each batch, saved whole."""
    for number, ids in enumerate(batches):
        _, cache = bridge.run_with_cache(ids, names_filter=hooks)
        torch.save(dict(cache), folder / f"{number}.pt")


if __name__ == "__main__":
    typer.run(main)
