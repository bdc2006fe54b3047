"""Which new facts hurt, and which old facts are at risk, by their gradients."""

import warnings

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere.facts.fact import FactSet
from interfere.measures.gradient_kernel import GradientKernel
from interfere.measures.rows import Labels
from interfere.measures.statistics import percentiles, ratio, resampled_sums

RESAMPLES = 2_000


def blame(
    kernel: GradientKernel, *components: str, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """New facts, the most harmful first: what a step on each does to all old facts.

    Columns: id, subject, answer; `harm`: predicted rise of the loss, summed over old
    facts, for a learning rate of 1 and a step on the fact's summed loss (see
    `GradientKernel`); `low`, `high`: 95 % interval over which old facts were measured,
    their answers resampled. Above 0 it hurts, below 0 it helps. The interval holds nothing
    of the sketch's noise, nor of what lies beyond the first order.

    Args:
        kernel: of the optimizer that trains.
        components: which are trained; none: all.
        resamples: of the old facts' answers.
        seed: of the resampling.
    """
    rise = kernel.rise(1.0, 1.0, *components)
    return _table(rise, kernel.new, kernel.old, resamples, seed)


def risk(
    kernel: GradientKernel, *components: str, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Old facts, the most endangered first: what a step on all new facts does to each.

    Columns and arguments as in `blame`, with old and new changed over: `harm` is summed
    over new facts, whose answers are resampled for the interval.
    """
    rise = kernel.rise(1.0, 1.0, *components)
    return _table(rise.T, kernel.old, kernel.new, resamples, seed)


def harm(
    rise: Float64[np.ndarray, "others facts"],
    answers: Labels,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a column of `rise`: its sum, `harm`, and the 95 % interval, `low` and `high`.

    Rows are resampled by cluster, at the number that there are. NaN intervals, with a
    warning, where there is but one answer.

    Args:
        rise: of each other fact's loss, by each fact.
        answers: one a row: facts of one answer move together.
        resamples: of the answers.
        seed: of the resampling.
    """
    count = len(rise)
    columns = np.hstack([rise, np.ones((count, 1))])
    sums = resampled_sums(columns, answers, resamples=resamples, seed=seed)
    drawn = [count * ratio(sums[:, [j, -1]]) for j in range(rise.shape[1])]
    ends = np.array([percentiles(draws, answers) for draws in drawn])
    if np.isnan(ends).any():
        warnings.warn(
            "intervals are NaN: they need 2 or more answers, none of nearly all facts",
            stacklevel=2,
        )
    return pd.DataFrame({"harm": rise.sum(0), "low": ends[:, 0], "high": ends[:, 1]})


def _table(
    rise: Float64[np.ndarray, "others facts"],
    facts: FactSet,
    others: FactSet,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    answers = [fact.answer for fact in others]
    found = harm(rise, answers, resamples=resamples, seed=seed)
    table = pd.concat([facts.table[["id", "subject", "answer"]], found], axis=1)
    return table.sort_values("harm", ascending=False, kind="stable", ignore_index=True)
