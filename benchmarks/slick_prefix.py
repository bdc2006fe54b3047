"""SLiCK with the few-shot prefix run once against the same code with it in every row.

Claim: at least 3.5 times as fast. Both sides run by turns; the median of the turns counts.
"""

import os
from functools import partial

import numpy as np
import typer
from sides import alternate, ratio, show
from slick_sides import asked_model

from interfere.models.answering import ask

CLAIM = 3.5


def main(
    model: str = "smollm2-135m",
    facts: int = 256,
    turns: int = 3,
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print both times and their ratio; exit with 1 if the claim does not hold."""
    loaded, asked, prefix = asked_model(model, facts, threads)
    answer = partial(ask, loaded, asked, prefix=prefix)
    sides = {"shared": answer, "in every row": partial(answer, share_prefix=False)}
    seconds, found = alternate(sides, turns)
    show(f"{model}, prefix of 4 shots", seconds, len(asked), "facts")
    off = np.abs(found["shared"].logprob - found["in every row"].logprob).max()
    times = ratio(seconds, "in every row", "shared")
    print(
        f"ratio {times:.2f} (claim: {CLAIM}); log-probabilities differ by {off:.1e} nats at most"
    )
    raise typer.Exit(int(times < CLAIM))


if __name__ == "__main__":
    typer.run(main)
