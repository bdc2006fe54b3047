"""Peak memory of recording: as much for ten times as many facts.

Claim: the peak grows by less than a tenth from 2,000 to 20,000 facts. Each size runs in a process
of its own; what it uses before recording begins is subtracted from neither.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import typer

from interfere.activations.recorder import record
from interfere.facts.geonames import geonames
from interfere.models.load import load_model

CLAIM = 1.1


def main(
    model: str = "smollm2-135m",
    few: int = 2000,
    many: int = 20_000,
    alone: int = 0,
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print both peaks and their ratio; exit with 1 if the claim does not hold."""
    if alone:
        typer.echo(peak(model, alone, threads))
        return
    peaks = {}
    for facts in (few, many):
        command = [sys.executable, __file__, "--model", model, "--alone", str(facts)]
        done = subprocess.run(
            [*command, "--threads", str(threads)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        peaks[facts] = int(done.stdout)
        print(f"{facts:,} facts: {peaks[facts] / 2**20:,.0f} MiB at the peak")
    ratio = peaks[many] / peaks[few]
    print(f"ratio {ratio:.3f} (claim: at most {CLAIM})")
    raise typer.Exit(int(ratio > CLAIM))


def peak(model: str, facts: int, threads: int) -> int:
    """Bytes that this process held at most while it recorded so many facts."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    every = range(0, loaded.layers, max(1, loaded.layers // 10))
    hooks = [f"blocks.{layer}.hook_out" for layer in every]
    with tempfile.TemporaryDirectory() as folder:
        asked = geonames(["P17"], limit=facts)
        record(loaded, asked, Path(folder) / "a.h5", hooks=hooks, scores=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    typer.run(main)
