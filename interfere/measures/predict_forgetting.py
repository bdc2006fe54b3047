"""Does anything known before training predict which facts are forgotten?"""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pandas as pd

from interfere.errors import InputError
from interfere.measures.forgetting_table import ForgettingTable
from interfere.measures.holm import holm
from interfere.measures.predictor_statistics import (
    Options,
    areas,
    coefficients,
    rank_correlations,
    shares,
)
from interfere.measures.weighted_bootstrap import RESAMPLES


@dataclass(frozen=True)
class Prediction:
    """How well each predictor tells which held-out facts an arm forgets."""

    table: pd.DataFrame
    """A row a predictor and statistic; see `predict_forgetting`."""
    facts: int
    right_before: int
    forgotten: float
    """Of those right before, how many were wrong at the end; mean over seeds."""
    answers: int
    seeds: int

    def of(self, statistic: str) -> pd.DataFrame:
        """One statistic: a row a predictor, by its name.

        Raises:
            InputError: no such statistic.
        """
        rows = self.table[self.table["statistic"] == statistic]
        if rows.empty:
            names = ", ".join(self.table["statistic"].unique())
            raise InputError(f"no statistic {statistic!r}; there are {names}")
        return rows.set_index("predictor").drop(columns="statistic")


def predict_forgetting(
    table: pd.DataFrame,
    predictors: Mapping[str, int],
    *,
    margin: str | None = "margin",
    folds: int = 5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Prediction:
    """Hold each predictor, and all together, against what an arm did to held-out facts.

    The outcome is never the raw change, which goes with its starting value by arithmetic
    alone. Statistics, for each predictor, turned so that more means more at risk:

    - `standardised`, `nats`, `arm`, `control`: regression of the after-score on the
      before-score and the predictor, the arm's against the Known-only control's
      (`loss_on_predictors`).
    - `spearman`: partial Spearman correlation with the loss beyond the control (control -
      after), given the before-score and its rank up to the third power (`adjustment`); in
      [-1, 1].
    - `auc`: forgotten against kept, among facts right before; in [0, 1], null .5; below:
      the other way round than declared. Row `before`: the before-score's own. A predictor
      that only goes with the before-score has an AUC of its own: read `added`.
    - `beyond_margin`: that AUC less the margin's alone, which is row `margin` of `auc`.
    - `added`: AUC of a logistic model of before-score, margin and predictor less that of
      one without the predictor, each on answers that it was not fitted to; noise comes out
      a little below 0.
    - `share_forgotten`, `share_loss`: Shapley share, in a cross-validated model of all
      predictors, of the deviance (forgotten or kept) or the squared error (loss beyond
      the control) that the before-score alone leaves (`predictor_shares`);
      `dropped_forgotten`, `dropped_loss`: what is lost without this one. Row `all`: by
      all together. Predictors enter the models as ranks.

    Columns: predictor, statistic, value, low, high, seeds_low, seeds_high, smallest, null
    (as in `statistics.Interval`), p (two-sided; not of `added` and shares), p_holm (over
    the predictors, statistic by statistic). Intervals resample answers; those of `added` and
    of shares take the fitted models as given. The value is the mean over seeds of what
    single seeds give: how well one run is predicted.

    All but the coefficients are blind to rising functions of a predictor. It says what
    goes with forgetting, not what causes it: for that, leave out what is blamed
    (`interventions.leave_out`).

    NaN, with a warning, for a predictor that is constant or a mere function of the
    before-score, and where a resample has no forgotten or no kept fact.

    Args:
        table: a row a held-out fact, and seed where the column `seed` is there: fact,
            answer, before, after, control (log-probabilities in nats at the format
            checkpoint, the arm's and the control's end), right_before, right_after, and
            the predictors.
        predictors: column → 1 where more means more at risk, -1 where less does.
        margin: the predictor that the others have to beat; None leaves that out.
        folds: of answers, for the cross-validated models.
        resamples: of answers.
        seed: of the resampling.

    Raises:
        InputError: a table that `ForgettingTable.of` refuses, or a margin that is not
            among the predictors.
    """
    if margin is not None and margin not in predictors:
        raise InputError(
            f"the margin {margin!r} is not among the predictors {', '.join(predictors)}; "
            "add it, or give margin=None"
        )
    data = ForgettingTable.of(table, predictors)
    options = Options(resamples=resamples, folds=folds, seed=seed)
    found = [*coefficients(data, options), *rank_correlations(data, options)]
    if data.right.any():
        found += areas(data, margin, options)
    found += shares(data, options)
    numbers = pd.DataFrame(
        [
            {"predictor": one.predictor, "statistic": one.statistic} | asdict(one.interval)
            for one in found
        ]
    ).rename(columns={"p_value": "p"})
    # The before-score is no candidate, and shares test nothing.
    tested = numbers["predictor"].isin(list(predictors))
    tested &= ~numbers["statistic"].str.startswith(("share", "dropped"))
    numbers["p"] = numbers["p"].where(tested)
    _warn(numbers)
    by = numbers.groupby("statistic", sort=False)["p"]
    return Prediction(
        table=numbers.assign(p_holm=by.transform(lambda p: holm(p.to_numpy()))),
        facts=len(data.facts),
        right_before=int(data.right.sum()),
        forgotten=float(data.forgotten[:, data.right].sum(1).mean()),
        answers=len(set(data.answers)),
        seeds=data.seeds,
    )


def _warn(numbers: pd.DataFrame) -> None:
    """Says which numbers mean nothing."""
    standardised = numbers[numbers["statistic"] == "standardised"]
    for name in standardised.loc[standardised["value"].isna(), "predictor"]:
        warnings.warn(
            f"{name}: its coefficient is NaN: it is constant, or a function of the "
            "before-score",
            stacklevel=3,
        )
    if numbers.loc[numbers["statistic"] == "auc", "low"].isna().any():
        warnings.warn(
            "AUC intervals are NaN: too few answers have facts that were forgotten, or kept",
            stacklevel=3,
        )
