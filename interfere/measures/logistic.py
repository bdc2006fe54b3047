"""Multinomial logistic regression as a probe, by scikit-learn."""

import warnings

import numpy as np
from jaxtyping import Float64, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from interfere.measures.reader import Reader, Trainer, unscaled

PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Strengths of the L2 penalty on weights of scaled rows: 1 / scikit-learn's C."""

STEPS = 300
"""At most, of the optimiser; more change what is read of few facts."""


def logistic_trainer(
    x: Float64[np.ndarray, "n d"], codes: Int[np.ndarray, " n"], fold: Int[np.ndarray, " n"]
) -> Trainer:
    """Trains readers from the strongest penalty to the weakest, each from the last."""
    classes = int(codes.max()) + 1

    def train(left_out: tuple[int, ...], strengths: tuple[float, ...]) -> list[Reader]:
        rows = ~np.isin(fold, left_out)
        scaler = StandardScaler().fit(x[rows])
        scaled = scaler.transform(x[rows])
        model = LogisticRegression(max_iter=STEPS, warm_start=True)
        found = {}
        for strength in sorted(strengths, reverse=True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.set_params(C=1 / strength).fit(scaled, codes[rows])
            weights, bias = model.coef_.T, model.intercept_
            if len(model.classes_) == 2:  # scikit-learn keeps the second's log-odds alone
                weights, bias = weights * [0, 1], bias * [0, 1]
            found[strength] = unscaled(
                weights,
                bias,
                scaler.mean_,
                scaler.scale_,
                model.classes_,
                classes,
                strength,
            )
        return [found[strength] for strength in strengths]

    return train
