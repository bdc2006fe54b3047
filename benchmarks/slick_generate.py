"""SLiCK in closed form against 1 greedy and 16 sampled generations a prompt.

Claim: at least 20 times as fast as Hugging Face's `generate`, whose batches stop early where
all rows have ended. Both sides run by turns on one prompt's worth of facts; the median counts.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from interfere.facts.geonames import geonames
from interfere.facts.matching import is_right
from interfere.facts.questions import few_shot_prefix
from interfere.models.answering import ask
from interfere.models.generation import generate, sample
from interfere.models.load import load_model

CLAIM = 20.0


def main(
    model: str = "smollm2-135m",
    facts: int = 24,
    turns: int = 3,
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print both times and their ratio; exit with 1 if the claim does not hold."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    cities = geonames(["P17"], limit=40 * facts)
    asked, prefix = cities[: 20 * facts : 20], few_shot_prefix(cities[-4:])
    ask(loaded, asked[:4], prefix=prefix)

    def closed() -> float:
        return float(ask(loaded, asked, prefix=prefix).probability.mean())

    def drawn() -> float:
        generate(loaded, asked, prefix=prefix)
        said = sample(loaded, asked, prefix=prefix, samples=16, seed=0)
        pairs = zip(said, asked, strict=True)
        return float(np.mean([[is_right(t, fact) for t in texts] for texts, fact in pairs]))

    sides: dict[str, Callable[[], float]] = {
        "closed form": closed,
        "1 + 16 generations": drawn,
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    right = {}
    for _ in range(turns):
        for name, run in sides.items():
            begin = time.perf_counter()
            right[name] = run()
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["1 + 16 generations"] / medians["closed form"]
    machine = f"{platform.machine()}, {threads} threads, torch {torch.__version__}"
    table = Table(title=f"{model}, {len(asked)} facts after 4 shots; {machine}")
    for column in ("method", "seconds", "facts a second", "P(right)"):
        table.add_column(column)
    for name, time_ in medians.items():
        table.add_row(
            name, f"{time_:.2f}", f"{len(asked) / time_:.1f}", f"{right[name]:.3f}"
        )
    Console().print(table)
    print(f"ratio {ratio:.1f} (claim: {CLAIM:.0f})")
    raise typer.Exit(int(ratio < CLAIM))


if __name__ == "__main__":
    typer.run(main)
