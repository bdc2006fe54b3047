"""For each arm that learns new facts: what predicted which old facts it forgets."""

from pathlib import Path

import pandas as pd

from interfere import cache
from interfere.measures.predict_forgetting import predict_forgetting
from interfere.measures.predictors import signs
from interfere.study.fresh import is_fresh
from interfere.study.gradient_tables import RISK
from interfere.study.predictors import forgetting_of, read_predictors
from interfere.study.preparation import Prepared, Say
from interfere.study.results import Runs
from interfere.study.study import Study, plain_control

FILE = "prediction.csv"
MARGIN = "margin"
"""The predictor that the others have to beat, where every fact has one."""


def prediction_table(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write prediction.csv, unless it is there and as new as results and gradient risk.

    Columns: see `predictions`. With the gradients' risk among the predictors where
    `gradient_tables` has written it.

    Args:
        prepared: the study's common start.
        runs: none is read: what came of them is in the results' facts.parquet.
        folder: the study's results.
        say: is told in a line what goes on.

    Raises:
        InputError: results without predictors, or fewer than 20 held-out facts.
    """
    study = prepared.study
    if is_fresh(folder / FILE, RISK):
        return
    if not any(arm.trains_new for arm in study.arms):
        say("no arm learns new facts: nothing to predict")
        return
    if not any(plain_control(arm) for arm in study.arms):
        say("no Known-only control to hold forgetting against: nothing is predicted")
        return
    facts = pd.read_parquet(folder / "facts.parquet")
    table = predictions(study, facts, read_predictors(folder), say)
    with cache.whole_file(folder / FILE) as draft:
        table.to_csv(draft, index=False)


def predictions(
    study: Study, facts: pd.DataFrame, predictors: pd.DataFrame, say: Say = lambda _: None
) -> pd.DataFrame:
    """`predict_forgetting` of every arm that learns new facts, one below the other.

    Columns: arm, keys, then those of `Prediction.table`, then facts, right_before,
    forgotten, answers and seeds of the arm.

    Args:
        study: the configuration.
        facts: facts.parquet.
        predictors: as `forgetting_of` takes them.
        say: is told which arm is looked at.

    Raises:
        InputError: as in `forgetting_of` and `predict_forgetting`.
    """
    tables = []
    for arm in (arm for arm in study.arms if arm.trains_new):
        say(f"what predicts forgetting: {arm.name}")
        table, columns = forgetting_of(study, facts, predictors, arm.name)
        margin = MARGIN if MARGIN in columns else None
        found = predict_forgetting(table, signs(columns), margin=margin)
        own = found.table.assign(
            facts=found.facts,
            right_before=found.right_before,
            forgotten=found.forgotten,
            answers=found.answers,
            seeds=found.seeds,
        )
        own.insert(0, "arm", arm.name)
        own.insert(1, "keys", arm.keys)
        tables.append(own)
    return pd.concat(tables, ignore_index=True)
