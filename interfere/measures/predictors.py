"""What is known of a held-out fact before training that may say whether it is forgotten."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Predictor:
    """A column of a study's predictors."""

    sign: int
    """1: more means more at risk; -1: less does. Declared before anything was measured."""
    label: str
    """In figures, of the risk: what more of it means once it is turned by its sign."""


PREDICTORS = {
    "margin": Predictor(-1, "small prior-corrected margin"),
    "p_correct": Predictor(-1, "low P(correct)"),
    "popularity": Predictor(-1, "low popularity"),
    "overlap": Predictor(1, "overlap with new facts"),
    "new_distance": Predictor(-1, "near to new facts"),
    "token_overlap": Predictor(1, "tokens of a new subject"),
    "gradient_risk_sgd": Predictor(1, "gradients: loss rises (SGD)"),
    "gradient_cosine_sgd": Predictor(-1, "gradients: opposed (SGD)"),
    "gradient_risk_adamw": Predictor(1, "gradients: loss rises (AdamW)"),
    "gradient_cosine_adamw": Predictor(-1, "gradients: opposed (AdamW)"),
}


def predictor(name: str) -> Predictor:
    """The predictor of that name; a column of another name is taken as a risk."""
    return PREDICTORS.get(name, Predictor(1, name.replace("_", " ")))


def signs(names: Iterable[str]) -> dict[str, int]:
    """Predictor → sign, as `predict_forgetting` takes it."""
    return {name: predictor(name).sign for name in names}
