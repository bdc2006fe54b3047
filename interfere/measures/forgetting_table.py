"""What was predicted and what came of it: outcomes of held-out facts beside predictors."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from interfere.errors import InputError

SCORES = ("before", "after", "control")
COLUMNS = ("fact", "answer", *SCORES, "right_before", "right_after")
LEAST = 20
"""Facts below which nothing is estimated."""


@dataclass(frozen=True)
class ForgettingTable:
    """The same facts under every seed; axes are seeds, then facts."""

    facts: list[str]
    answers: np.ndarray
    """Each fact's answer: facts that move together."""
    before: Float64[np.ndarray, "seeds facts"]
    """Log-probability of the answer at the format checkpoint, in nats."""
    after: Float64[np.ndarray, "seeds facts"]
    """At the arm's end."""
    control: Float64[np.ndarray, "seeds facts"]
    """At the Known-only control's end."""
    right: Bool[np.ndarray, " facts"]
    """Right before, under every seed."""
    forgotten: Bool[np.ndarray, "seeds facts"]
    """Wrong at the arm's end; read where `right`."""
    predictors: dict[str, Float64[np.ndarray, "seeds facts"]]
    """Turned so that more means more at risk."""

    @classmethod
    def of(cls, table: pd.DataFrame, signs: Mapping[str, int]) -> "ForgettingTable":
        """From a row a fact (and seed, where there is a column of that name).

        Args:
            table: columns as in COLUMNS, `seed` if there are several, and the predictors.
            signs: predictor → 1 where more means more at risk, -1 where less does.

        Raises:
            InputError: a column that is not there, no predictor, one with the name of
                another column, a sign other than 1 and -1, a fact that is there twice or
                not under every seed, too few facts, or a value that is missing or
                infinite.
        """
        if missing := [c for c in (*COLUMNS, *signs) if c not in table.columns]:
            raise InputError(
                f"the table lacks {missing[0]}; it has {', '.join(table.columns)}"
            )
        if not signs:
            raise InputError("name at least one predictor")
        if own := [name for name in signs if name in (*COLUMNS, "seed", "all")]:
            raise InputError(f"a predictor can't be named {own[0]}; rename its column")
        if wrong := [name for name, sign in signs.items() if sign not in (1, -1)]:
            raise InputError(f"the sign of {wrong[0]} must be 1 or -1")
        rows = table if "seed" in table else table.assign(seed=0)
        order = list(dict.fromkeys(rows["fact"]))
        _check_rows(rows, order)
        places = pd.MultiIndex.from_product([rows["seed"].unique(), order])
        rows = rows.set_index(["seed", "fact"]).loc[places]
        arrays = {
            name: _wide(rows, name, order)
            for name in (*SCORES, "right_before", "right_after", *signs)
        }
        return cls(
            facts=order,
            answers=rows["answer"].to_numpy()[: len(order)],
            **{name: arrays[name] for name in SCORES},
            right=np.all(arrays["right_before"] == 1, axis=0, keepdims=True)[0],
            forgotten=arrays["right_after"] == 0,
            predictors={name: sign * arrays[name] for name, sign in signs.items()},
        )

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len(self.before)


def _check_rows(rows: pd.DataFrame, order: list[str]) -> None:
    if len(order) < LEAST:
        raise InputError(f"needs at least {LEAST} held-out facts, got {len(order)}")
    if (twice := rows.duplicated(["seed", "fact"])).any():
        row = rows[twice].iloc[0]
        raise InputError(f"fact {row['fact']} is there twice under seed {row['seed']}")
    counts = rows["fact"].value_counts()
    if (lacking := counts[counts < rows["seed"].nunique()]).size:
        raise InputError(f"fact {lacking.index[0]} is not there under every seed")


def _wide(
    rows: pd.DataFrame, column: str, order: list[str]
) -> Float64[np.ndarray, "seeds facts"]:
    wide = rows[column].to_numpy(dtype=np.float64).reshape(-1, len(order))
    if not np.isfinite(wide).all():
        fact = order[int(np.argmin(np.isfinite(wide).all(axis=0)))]
        raise InputError(
            f"{column} of fact {fact} is missing or infinite; leave that fact or that "
            "column out"
        )
    return wide
