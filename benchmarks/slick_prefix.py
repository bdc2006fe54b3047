"""SLiCK with the few-shot prefix run once against the same code with it in every row.

Claim: at least 3.5 times as fast. Both sides run by turns; the median of the turns counts.
"""

import os
import platform
import statistics
import time

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from interfere.facts.geonames import geonames
from interfere.facts.questions import few_shot_prefix
from interfere.models.answering import ask
from interfere.models.load import load_model

CLAIM = 3.5


def main(
    model: str = "smollm2-135m",
    facts: int = 64,
    turns: int = 3,
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print both times and their ratio; exit with 1 if the claim does not hold."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    cities = geonames(["P17"], limit=40 * facts)
    asked, prefix = cities[: 20 * facts : 20], few_shot_prefix(cities[-4:])
    ask(loaded, asked[:4], prefix=prefix)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    found = {}
    for _ in range(turns):
        for share in seconds:
            begin = time.perf_counter()
            found[share] = ask(loaded, asked, prefix=prefix, share_prefix=share)
            seconds[share].append(time.perf_counter() - begin)
    off = np.abs(found[True].logprob - found[False].logprob).max()
    medians = {share: statistics.median(times) for share, times in seconds.items()}
    ratio = medians[False] / medians[True]
    machine = f"{platform.machine()}, {threads} threads, torch {torch.__version__}"
    table = Table(title=f"{model}, {len(asked)} facts after 4 shots; {machine}")
    for name in ("prefix", "seconds", "facts a second"):
        table.add_column(name)
    for share, name in ((True, "shared"), (False, "in every row")):
        table.add_row(name, f"{medians[share]:.2f}", f"{len(asked) / medians[share]:.1f}")
    Console().print(table)
    print(
        f"ratio {ratio:.2f} (claim: {CLAIM}); log-probabilities differ by {off:.1e} nats at most"
    )
    raise typer.Exit(int(ratio < CLAIM))


if __name__ == "__main__":
    typer.run(main)
