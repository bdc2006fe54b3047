"""What a predictor adds to the before-score: the after-score, arm against control."""

import numpy as np
from jaxtyping import Float64
from scipy import stats

Values = Float64[np.ndarray, " facts"]

NAMES = ("standardised", "nats", "arm", "control")
"""What `loss_on_predictors` gives of each predictor, in this order."""


def loss_on_predictors(
    before: Values,
    after: Values,
    control: Values,
    predictors: Float64[np.ndarray, "predictors facts"],
    weights: Float64[np.ndarray, "resamples facts"],
) -> Float64[np.ndarray, "resamples predictors numbers"]:
    """Each predictor's coefficient beside the before-score, one predictor at a time.

    Two regressions on the same columns, of the answer's log-probability after the arm and
    after the Known-only control:

        after   = f(before) + b_arm · predictor + rest
        control = g(before) + b_control · predictor + rest

    f and g: see `adjustment`. `arm` and `control` are b in nats a standard deviation of
    the predictor; `nats` is control - arm, what the arm lost beyond its control (above 0:
    facts high in the predictor lost more); `standardised` the same in standard deviations
    of that loss. Least squares is linear in the outcome, so `nats` is also the
    coefficient of the loss beyond the control, (before - after) - (before - control) =
    control - after, in which the before-score cancels: a predictor can't seem to act
    because it goes with the starting value that a raw change contains.

    Blind to shift and positive scale of a predictor. NaN where it is constant or nothing
    but a function of the before-score's adjustment.

    Args:
        before: log-probability (nats) at the format checkpoint; fact i is column i
            everywhere.
        after: at the arm's end.
        control: at the Known-only control's end.
        predictors: a row a predictor.
        weights: how often each fact counts.

    Source: difference-in-differences with the before-score as covariate; Frisch-Waugh-
    Lovell for the partialling-out.
    """
    basis = adjustment(before)
    spread = predictors.std(axis=1, keepdims=True)
    scaled = (predictors - predictors.mean(axis=1, keepdims=True)) / np.where(
        spread > 0, spread, 1
    )
    design = np.column_stack([basis, after, control, scaled.T])
    width, size = basis.shape[1], design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    moments = (weights @ products).reshape(-1, size, size)
    inverse = np.linalg.pinv(moments[:, :width, :width], rcond=1e-10, hermitian=True)
    explained = moments[:, width:, :width] @ inverse @ moments[:, :width, width:]
    left = moments[:, width:, width:] - explained
    own = np.diagonal(left, axis1=1, axis2=2)[:, 2:]
    total = weights.sum(1, keepdims=True)
    square = np.diagonal(moments, axis1=1, axis2=2)[:, width + 2 :]
    deviation = np.sqrt(np.maximum(square / total - (weights @ scaled.T / total) ** 2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        free = own > 1e-9 * np.maximum(square, total)
        arm, held = (
            np.where(free, left[:, 2:, side] / own, np.nan) * deviation for side in (0, 1)
        )
        loss = control - after
        mean = weights @ loss / total[:, 0]
        sd = np.sqrt(np.maximum(weights @ loss**2 / total[:, 0] - mean**2, 0))
        standardised = (held - arm) / sd[:, None]
    return np.stack([standardised, held - arm, arm, held], axis=-1)


def adjustment(before: Values) -> Float64[np.ndarray, "facts columns"]:
    """Orthonormal columns that stand for the before-score: at most 5, one of them constant.

    They span a constant and `before_columns`.
    """
    columns = np.column_stack([np.ones(len(before)), before_columns(before)])
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    kept: Float64[np.ndarray, "facts columns"] = left[:, sizes > 1e-8 * sizes[0]]
    return kept


def before_columns(before: Values) -> Float64[np.ndarray, "facts 4"]:
    """The before-score, and its rank to the first, second and third power.

    Log-probabilities of known facts crowd below 0 and trail off far from it, so that a
    straight line alone would leave much of the before-score for a predictor that only
    goes with it. The score has mean 0 and variance 1 (0 where constant), ranks lie in
    [-1, 1].
    """
    ranks = rank_scores(before)
    score = (before - before.mean()) / (before.std() or 1.0)
    return np.column_stack([score, ranks, ranks**2, ranks**3])


def rank_scores(values: Values) -> Values:
    """Ranks, ties averaged, spread evenly over (-1, 1)."""
    ranks: Values = 2 * (stats.rankdata(values) - 0.5) / len(values) - 1
    return ranks
