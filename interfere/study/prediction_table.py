"""For each arm that learns new facts: what predicted which old facts it forgets."""

from pathlib import Path

import pandas as pd

from interfere import cache
from interfere.measures.predict_forgetting import predict_forgetting
from interfere.measures.predictors import signs
from interfere.study.fresh import is_fresh
from interfere.study.gradient_tables import RISK
from interfere.study.predictors import FACTORS, forgetting_of, read_predictors
from interfere.study.preparation import Prepared, Say
from interfere.study.results import Runs
from interfere.study.study import Arm, Study, plain_control
from interfere.training.freezing import Freezing
from interfere.training.lora import LoRA
from interfere.training.names import named_mitigation

FILE = "prediction.csv"
MARGIN = "margin"
"""The predictor that the others have to beat, where every fact has one."""
GRADIENTS = "gradient_"
"""What the names of the gradients' predictors begin with."""


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

    A predictor that some fact lacks is left out, and so are the gradients, which are of all
    weights, of arms that train a part of them.

    Columns: arm, keys, then those of `Prediction.table`, then facts, right_before,
    forgotten, answers and seeds of the arm.

    Args:
        study: the configuration.
        facts: facts.parquet.
        predictors: as `forgetting_of` takes them.
        say: is told which arm is looked at, and what is left out.

    Raises:
        InputError: as in `forgetting_of` and `predict_forgetting`.
    """
    tables = []
    for arm in (arm for arm in study.arms if arm.trains_new):
        say(f"what predicts forgetting: {arm.name}")
        table, columns = forgetting_of(study, facts, predictors, arm.name)
        _say_lacking(table, predictors, columns, say)
        if trains_part(arm):
            say(f"{arm.name}: without the gradients of weights that it leaves as they are")
            columns = [name for name in columns if not name.startswith(GRADIENTS)]
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


def trains_part(arm: Arm) -> bool:
    """Whether some of the model's weights stay as they are, or an adapter is trained."""
    if arm.mitigation is None:
        return False
    return isinstance(named_mitigation(arm.mitigation, arm.settings), Freezing | LoRA)


def _say_lacking(
    table: pd.DataFrame, predictors: pd.DataFrame, columns: list[str], say: Say
) -> None:
    for name in predictors.columns:
        if name not in (*FACTORS, *columns):
            lacking = int(table[name].isna().sum())
            say(f"without {name}: {lacking} of {len(table)} rows have none")
