"""CKA of all layers before against all layers after: at once, pair by pair, by pytorch-cka.

Claims, at 30 x 30 layers of 10,000 facts in 576 dimensions: at least 10 times as fast as the Gram
form pair by pair, 2 times as fast as the feature form pair by pair (`cka`) and as the package
pytorch-cka; values equal to `cka` within 1e-5; memory below one more copy of the activations.

The slow sides take too long to be run whole: each turn times some pairs, and the times shown are
what all pairs would take at that pace. pytorch-cka (`pip install pytorch-cka`, no dependency of
ours; left out where it is missing) holds the Gram matrices of all its layers, 36 GB here: it gets
as many layers of each side at once as `rival_layers` says (7 GB for 6), and makes each Gram matrix
again for each block of pairs; give it all layers where memory allows. Its features are centred
beforehand: it does not, and in float32 a mean like that of a residual stream spoils its values.
"features, float32" is the feature form at its best, each layer's own norm taken once, with no claim
on it. Memory is read on Linux only.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import torch
import typer
from sides import alternate, ratio, show
from torch import Tensor

from interfere.measures import all_pairs_cka as module
from interfere.measures import cka as pairwise
from interfere.measures.all_pairs_cka import all_pairs_cka
from interfere.measures.cka import cka

GRAM, FEATURES, RIVAL, EXACT = 10.0, 2.0, 2.0, 1e-5


def main(
    layers: int = 30,
    facts: int = 10_000,
    dimensions: int = 576,
    pairs: int = 3,
    rival_layers: int = 6,
    turns: int = 3,
    threads: int = os.cpu_count() or 1,
    alone: bool = False,
) -> None:
    """Print times, ratios, error and memory; exit with 1 if a claim does not hold."""
    torch.set_num_threads(threads)
    befores, afters = activations(layers, facts, dimensions)
    if alone:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        start = _peak()
        all_pairs_cka(befores, afters)
        typer.echo(_peak() - start)
        return
    every = list(product(range(layers), range(layers)))
    some = [every[i] for i in np.linspace(0, len(every) - 1, pairs).astype(int)]
    by_pair: dict[str, Callable[[Tensor, Tensor], float]] = {
        "Gram, pair by pair": _grams,
        "features, pair by pair": lambda x, y: cka(x, y).value,
    }
    sides = {"all pairs": partial(all_pairs_cka, befores, afters)}
    scale = {"all pairs": 1.0}
    for name, one in by_pair.items():
        sides[name] = partial(_each, one, befores, afters, some)
        scale[name] = len(every) / len(some)
    few = min(rival_layers, layers)
    sides["features, float32"] = partial(_features, befores[:few], afters[:few])
    scale["features, float32"] = (layers / few) ** 2
    if find_spec("cka"):
        from cka import cka_from_features

        sides["pytorch-cka"] = partial(
            cka_from_features,
            *([x - x.mean(0) for x in side[:few]] for side in (befores, afters)),
        )
        scale["pytorch-cka"] = scale["features, float32"]
    seconds, found = alternate(sides, turns)
    seconds = {name: times * scale[name] for name, times in seconds.items()}
    show(f"{layers} x {layers} layers, {facts:,} facts", seconds, len(every), "pairs")
    whole = found["all pairs"]
    ours = np.array([whole[pair] for pair in some])
    error = np.abs(ours - found["features, pair by pair"]).max()
    held = [error <= EXACT]
    print(f"error {error:.1e} (claim: at most {EXACT})")
    if "pytorch-cka" in found:
        off = np.abs(whole[:few, :few] - found["pytorch-cka"].numpy()).max()
        print(f"pytorch-cka differs by {off:.1e}")
    claims = {"Gram, pair by pair": GRAM, "features, pair by pair": FEATURES}
    claims |= {"pytorch-cka": RIVAL, "features, float32": 0}
    for name, claim in claims.items():
        if name in seconds:
            times = ratio(seconds, name, "all pairs")
            held.append(times >= claim)
            said = f"claim: {claim:.0f}" if claim else "no claim"
            print(f"{name}: {times:.1f} times as long ({said})")
    held.append(_memory(layers, facts, dimensions, threads))
    raise typer.Exit(int(not all(held)))


def activations(
    layers: int, facts: int, dimensions: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Each layer adds to the one before it, as a residual stream; afterwards all are shaken."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator)
    spread = torch.linspace(1, 0.05, dimensions)
    befores, afters = [], []
    stream = 3 + draw(facts, dimensions) * spread
    for _ in range(layers):
        stream = stream + 0.3 * torch.tanh(stream @ draw(dimensions, dimensions) / 24)
        befores.append(stream)
        afters.append(stream + 0.3 * draw(facts, dimensions))
    return befores, afters


def _grams(x: Tensor, y: Tensor) -> float:
    return pairwise._from_grams(x.double(), y.double())


def _each(
    one: Callable[[Tensor, Tensor], float],
    befores: list[Tensor],
    afters: list[Tensor],
    pairs: list[tuple[int, int]],
) -> np.ndarray:
    return np.array([one(befores[i], afters[j]) for i, j in pairs])


def _features(befores: list[Tensor], afters: list[Tensor]) -> None:
    sides = (
        [module.ScaledRows.of(x, "", torch.float32) for x in s] for s in (befores, afters)
    )
    module._by_features(*sides)


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def _memory(layers: int, facts: int, dimensions: int, threads: int) -> bool:
    options = {
        "layers": layers,
        "facts": facts,
        "dimensions": dimensions,
        "threads": threads,
    }
    flags = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, __file__, *flags, "--alone"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    more, copy = int(done.stdout), 2 * layers * facts * dimensions * 4
    print(
        f"{more / 2**20:,.0f} MiB beside the activations (claim: below one more copy of "
        f"them, {copy / 2**20:,.0f} MiB)"
    )
    return more < copy


if __name__ == "__main__":
    typer.run(main)
