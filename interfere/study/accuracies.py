"""Accuracy of every set of facts by step, from the answers that runs wrote down."""

from pathlib import Path

import pandas as pd

from interfere.study.factors import Runs, factors
from interfere.study.run import Job

ACCURACIES = {
    "known": "task",
    "unknown": "plasticity",
    "unknown_paraphrase": "plasticity_paraphrase",
    "held_out": "stability",
    "validation": "stability_validation",
}
"""What the accuracy of each set is called."""


def facts_of_run(job: Job, path: Path) -> pd.DataFrame:
    """How a run answered each fact at each step."""
    table = pd.read_parquet(path / "facts.parquet")
    return table.assign(run=path.name, arm=job.arm.name, seed=job.seed)


def accuracies(facts: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """Accuracy and log-probability of every set by step; net loss of the held out."""
    by = ["run", "set", "step", "epoch"]
    means = facts.groupby(by, sort=False)[["right", "logprob"]].mean().reset_index()
    accuracy = means.assign(metric=means["set"].map(ACCURACIES), value=means["right"])
    scores = means.assign(metric=accuracy["metric"] + "_logprob", value=means["logprob"])
    held = accuracy[accuracy["set"] == "held_out"]
    first = held[held["step"] == 0].set_index("run")["value"]
    loss = held.assign(metric="net_loss", value=held["run"].map(first) - held["value"])
    peak = held.groupby("run")["value"].max()
    last = held.sort_values("step").groupby("run").tail(1)
    tops = last["run"].map(peak)
    forgetting = last.assign(metric="forgetting", value=(tops - last["value"]) / tops)
    table = pd.concat([accuracy, scores, loss, forgetting])
    named = pd.DataFrame([factors(job, path) for job, path in runs])
    # Two arms of one configuration share a run, so a run may stand for several rows.
    return table[[*by, "metric", "value"]].merge(named, on="run")
