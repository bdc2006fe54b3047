"""Do facts that FactRetentionCallback calls dipped come back more often than eroded ones?

Claim: of the held-out facts that are lost after an epoch of plain fine-tuning on nano, those
called a dip are right at the end of training more often than those called eroded. Shares are
means over seeds, with 95 % intervals over answers. Facts, start and training are those of the
study nano-mitigations, at 1e-4.
"""

import os

import numpy as np
import pandas as pd
import torch
import typer

from interfere.interventions.fact_retention import FactRetentionCallback
from interfere.measures.statistics import pooled_interval
from interfere.study.load import load_study
from interfere.study.preparation import Prepared, prepare
from interfere.study.runner import plan
from interfere.training.train import train


def main(
    study: str = "nano-mitigations", seeds: int = 3, threads: int = os.cpu_count() or 1
) -> None:
    """Print shares by epoch; exit with 1 if dips come back no more often than erosion."""
    torch.set_num_threads(threads)
    prepared = prepare(load_study(study), print)
    fates = pd.concat([followed(prepared, seed) for seed in range(seeds)])
    holds = []
    for epoch, lost in fates.groupby("epoch"):
        parts = dict(list(lost.groupby("change")))
        said = []
        for kind in ("dip", "erosion"):
            own = parts[kind]
            found = pooled_interval(
                own["back"].to_numpy(float), own["answer"].tolist(), own["seed"].tolist()
            )
            said.append(
                f"{kind}: {found.value:.2f} [{found.low:.2f}, {found.high:.2f}] of "
                f"{len(own) / seeds:.0f} come back"
            )
        print(f"lost after epoch {epoch}; {'; '.join(said)}")
        holds.append(parts["dip"]["back"].mean() > parts["erosion"]["back"].mean())
    raise typer.Exit(int(not all(holds)))


def followed(prepared: Prepared, seed: int) -> pd.DataFrame:
    """A row a fact that is lost at an epoch's end: what it was called, and if it came back."""
    job = next(
        job for job in plan(prepared) if job.seed == seed and job.arm.mitigation is None
    )
    every = round(job.steps_an_epoch)
    watch = FactRetentionCallback(job.split.held_out, every=every)
    train(
        prepared.start,
        job.split,
        steps=job.steps,
        learning_rate=1e-4,
        batch_size=prepared.study.train.batch_size,
        seed=seed,
        callbacks=[watch],
    )
    changes = watch.flips.set_index("fact")
    answers = {fact.id: fact.answer for fact in job.split.held_out}
    rows = []
    for step in range(every, job.steps - 2 * every, every):
        last = changes[changes["step"] <= step].groupby("fact")["change"].last()
        end = changes.groupby("fact")["change"].last()
        lost = last[last.isin(["dip", "erosion"])]
        rows.append(
            pd.DataFrame(
                {
                    "epoch": step // every,
                    "change": lost.to_numpy(),
                    "back": np.isin(end[lost.index], ["back", "gained"]),
                    "answer": [answers[fact] for fact in lost.index],
                    "seed": seed,
                }
            )
        )
    return pd.concat(rows)


if __name__ == "__main__":
    typer.run(main)
