"""The cluster bootstrap against a plain loop that draws answers and gathers their facts.

Claim: 10,000 resamples of 5,000 facts in under 1 s, whether a cluster is an answer (250 of
them) or a single fact. Sides run by turns; the loop makes a hundredth of the resamples and
its time is multiplied.
"""

import numpy as np
import typer
from sides import alternate, ratio, show
from sklearn.utils import resample

from interfere.measures.statistics import mean_interval

CLAIM, SHARE = 1.0, 100


def main(facts: int = 5_000, resamples: int = 10_000, turns: int = 5) -> None:
    """Print the times and their ratios; exit with 1 if the claim does not hold."""
    values = np.random.default_rng(0).normal(size=(3, facts))
    slowest = 0.0
    for clusters in (facts // 20, facts):
        labels = np.arange(facts) % clusters
        sides = {
            "loop": lambda labels=labels: loop(values.mean(0), labels, resamples // SHARE),
            "mean_interval": lambda labels=labels: mean_interval(
                values, labels, resamples=resamples
            ),
        }
        seconds, found = alternate(sides, turns)
        seconds["loop"] = seconds["loop"] * SHARE
        show(f"{facts:,} facts, {clusters:,} clusters", seconds, resamples, "resamples")
        own = (found["mean_interval"].low, found["mean_interval"].high)
        low, high = np.quantile(found["loop"], [0.025, 0.975])
        print(
            f"{ratio(seconds, 'loop', 'mean_interval'):.0f} times as fast; "
            f"[{own[0]:.4f}, {own[1]:.4f}] against [{low:.4f}, {high:.4f}]"
        )
        slowest = max(slowest, float(np.median(seconds["mean_interval"])))
    print(f"slowest {slowest:.2f} s (claim: under {CLAIM:.0f} s)")
    raise typer.Exit(int(slowest >= CLAIM))


def loop(values: np.ndarray, labels: np.ndarray, resamples: int) -> list[float]:
    """The mean of each resample, drawn with scikit-learn's `resample`."""
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return [
        float(values[np.concatenate(resample(rows, random_state=seed))].mean())
        for seed in range(resamples)
    ]


if __name__ == "__main__":
    typer.run(main)
