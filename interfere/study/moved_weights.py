"""How each arm of a study moved the weights, by component."""

from pathlib import Path

import pandas as pd

from interfere import cache
from interfere.measures.intruders import intruder_table
from interfere.measures.weight_delta import delta_table, weight_deltas
from interfere.study.factors import Runs
from interfere.study.fresh import is_fresh
from interfere.study.kept_models import kept_models, weights_are_kept
from interfere.study.preparation import Prepared, Say

FILE = "weights.csv"

NUMBERS = ("norm", "relative", "effective_rank", "top_share")


def moved_weights(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write weights.csv, unless it is as new as the results.

    A row an arm, seed and component: matrices (how many), the mean over them of NUMBERS
    (`measures.weight_delta.delta_table`), against the format checkpoint; intruders (singular
    directions of the tuned weight that lie far from all of the old one's) among examined,
    at the middle threshold of `measures.intruders`.

    Args:
        prepared: the study's common start.
        runs: jobs and their folders; without kept weights nothing is written.
        folder: the study's results.
        say: is told in a line what goes on.
    """
    study = prepared.study
    if is_fresh(folder / FILE) or not weights_are_kept(study, "weights", say):
        return
    before, config = prepared.start.network.state_dict(), prepared.start.network.config
    tables = []
    for arm in study.arms:
        say(f"weights of {arm.name!r}")
        for seed, tuned in zip(
            study.seeds, kept_models(prepared, runs, arm.name), strict=True
        ):
            after = tuned.network.state_dict()
            deltas = delta_table(weight_deltas(before, after, config=config))
            means = deltas.groupby("component")[list(NUMBERS)].mean()
            means.insert(0, "matrices", deltas.groupby("component").size())
            intruders = intruder_table(before, after, config=config)
            middle = sorted(intruders["threshold"].unique())[
                intruders["threshold"].nunique() // 2
            ]
            at = intruders[intruders["threshold"] == middle].groupby("component")
            means = means.join(at[["intruders", "examined"]].sum()).reset_index()
            tables.append(means.assign(arm=arm.name, seed=seed, threshold=middle))
    table = pd.concat(tables, ignore_index=True)
    first = ["arm", "seed", "component"]
    with cache.whole_file(folder / FILE) as draft:
        table[[*first, *(c for c in table if c not in first)]].to_csv(draft, index=False)
