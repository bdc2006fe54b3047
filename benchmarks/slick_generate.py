"""SLiCK in closed form against 1 greedy and 16 sampled generations a prompt.

Claim: at least 20 times as fast as Hugging Face's `generate`, whose batches stop early where
all rows have ended. Both sides run by turns on one prompt's worth of facts; the median counts.
"""

import os

import numpy as np
import typer
from sides import alternate, ratio, show
from slick_sides import asked_model

from interfere.facts.matching import is_right
from interfere.models.answering import ask
from interfere.models.generation import generate, sample

CLAIM = 20.0


def main(
    model: str = "smollm2-135m",
    facts: int = 24,
    turns: int = 3,
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print both times and their ratio; exit with 1 if the claim does not hold."""
    loaded, asked, prefix = asked_model(model, facts, threads)

    def closed() -> float:
        return float(ask(loaded, asked, prefix=prefix).probability.mean())

    def drawn() -> float:
        generate(loaded, asked, prefix=prefix)
        said = sample(loaded, asked, prefix=prefix, samples=16, seed=0)
        pairs = zip(said, asked, strict=True)
        return float(np.mean([[is_right(t, fact) for t in texts] for texts, fact in pairs]))

    seconds, right = alternate({"closed form": closed, "1 + 16 generations": drawn}, turns)
    show(f"{model}, after 4 shots", seconds, len(asked), "facts")
    times = ratio(seconds, "1 + 16 generations", "closed form")
    shares = ", ".join(f"{name} {share:.3f}" for name, share in right.items())
    print(f"ratio {times:.1f} (claim: {CLAIM:.0f}); P(right): {shares}")
    raise typer.Exit(int(times < CLAIM))


if __name__ == "__main__":
    typer.run(main)
