"""Each arm's accuracies by step, over its seeds, with intervals over answers."""

from dataclasses import asdict

import pandas as pd

from interfere.measures.statistics import pooled_interval
from interfere.study.accuracies import ACCURACIES

RESAMPLES = 2000
COLUMNS = ("value", "low", "high", "seeds_low", "seeds_high")


def accuracy_intervals(facts: pd.DataFrame, *, at_end: bool = False) -> pd.DataFrame:
    """A row an arm, accuracy and step.

    Columns: arm, metric (of `accuracies.ACCURACIES`), step, epoch, and value, low, high,
    seeds_low, seeds_high as in `statistics.Interval`. Facts of all seeds are averaged and
    an answer is drawn with all its facts under every seed: synthetic subjects, which each
    seed draws anew, keep their answers.

    Args:
        facts: the study's facts.parquet.
        at_end: each set's last step alone.
    """
    known = facts[facts["set"].isin(list(ACCURACIES))]
    if at_end:
        last = known.groupby(["arm", "set"], sort=False)["step"].transform("max")
        known = known[known["step"] == last]
    rows = []
    for (arm, name, step), own in known.groupby(["arm", "set", "step"], sort=False):
        found = asdict(
            pooled_interval(
                own["right"].to_numpy(float),
                own["answer"],
                own["seed"],
                resamples=RESAMPLES,
            )
        )
        place = {"arm": arm, "metric": ACCURACIES[name], "step": step}
        place["epoch"] = own["epoch"].iloc[0]
        rows.append(place | {column: found[column] for column in COLUMNS})
    return pd.DataFrame(rows, columns=["arm", "metric", "step", "epoch", *COLUMNS])
