"""Which facts a probe can be held to, and in which fold each is tested."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.near_duplicates import near_duplicates
from interfere.measures.rows import Array, Labels, as_codes, as_rows

LEAST = 20
"""Facts that a class needs."""

FOLDS = 5


@dataclass(frozen=True)
class Folds:
    """Facts of the classes that are large enough, each tested in one fold."""

    rows: Int[np.ndarray, " kept"]
    """Of the facts that are kept, ascending."""
    codes: Int[np.ndarray, " kept"]
    """Class of each kept fact, an index of `classes`."""
    fold: Int[np.ndarray, " kept"]
    """Where each kept fact is tested, from 0."""
    classes: list[str]
    facts: int
    """With those of classes that are too small."""

    @property
    def chance(self) -> float:
        """Share of the commonest class: what guessing it always gets right."""
        return float(np.bincount(self.codes).max() / len(self.codes))

    def kept(
        self, x: Float[np.ndarray, "n ..."] | Float[Tensor, "n ..."], name: str
    ) -> Float64[np.ndarray, "kept d"]:
        """The rows of the facts that are kept, in float64.

        Raises:
            InputError: not a row a fact, or a value that isn't finite.
        """
        rows = as_rows(x, name)
        if len(rows) != self.facts:
            raise InputError(
                f"{name}: expected a row for each of {self.facts} facts, got {len(rows)}"
            )
        return rows[self.rows]

    def labels(self, values: Labels, name: str) -> Array:
        """The labels of the facts that are kept.

        Raises:
            InputError: not one label a fact, or a label that is missing.
        """
        as_codes(values, self.facts, name)
        return np.asarray(values, dtype=object)[self.rows]


def make_folds(
    labels: Labels,
    groups: Labels,
    *,
    count: int = FOLDS,
    least: int = LEAST,
    seed: int = 0,
) -> Folds:
    """Folds in which classes have like shares and no group is on both sides.

    A class with fewer than `least` facts, or fewer than `count` groups, is left out: the
    probe says nothing of it.

    Args:
        labels: what is to be predicted, one a fact.
        groups: facts that must be tested together.
        count: folds; at least 3, since regularisation is chosen inside of them.
        least: facts a class.
        seed: of the folds.

    Raises:
        InputError: fewer than two classes are large enough, or the groups are so unequal
            that a class is tested in one fold alone; a missing label; fewer than 3 folds.
    """
    if count < 3:
        raise InputError(f"probes need 3 folds or more, got {count}")
    values = pd.Series(np.asarray(labels, dtype=object))
    as_codes(values, len(values), "labels")
    together = as_codes(groups, len(values), "groups")
    members = values.value_counts(sort=False)
    spread = pd.Series(together).groupby(values).nunique()
    large = members.index[(members >= least) & (spread[members.index] >= count)]
    if len(large) < 2:
        raise InputError(
            f"a probe needs two classes of {least} facts in {count} groups or more, got "
            f"{len(large)} (the largest class has {members.max()} facts); give more facts a "
            "class"
        )
    rows = np.flatnonzero(values.isin(large))
    codes = as_codes(values.iloc[rows], len(rows))
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    fold = np.empty(len(rows), dtype=np.int64)
    for number, (_, tested) in enumerate(splitter.split(rows, codes, together[rows])):
        fold[tested] = number
    classes = [str(label) for label in dict.fromkeys(values.iloc[rows])]
    for code, label in enumerate(classes):
        if len(np.unique(fold[codes == code])) < 2:
            raise InputError(
                f"all facts of {label!r} fall into one fold: its groups are too unequal; "
                "give more of them"
            )
    return Folds(rows, codes, fold, classes, len(values))


def fact_folds(
    table: pd.DataFrame,
    labels: Literal["answer", "relation"] | Labels = "answer",
    *,
    count: int = FOLDS,
    least: int = LEAST,
    seed: int = 0,
) -> Folds:
    """Folds of recorded facts, grouped as the label needs it.

    Where the answer is to be read, near-duplicate subjects are tested together (grouped
    by answer, its test classes would be unseen). Where it is the relation or labels of
    one's own, such as known and unknown, facts with one answer are: otherwise the probe
    could tell the label from the answer.

    Args:
        table: subject, relation and answer of each fact, as `Recording.table`.
        labels: a column, or one label a fact.
        count: folds.
        least: facts a class.
        seed: of the folds.

    Raises:
        InputError: as in `make_folds`.
    """
    if isinstance(labels, str):
        values: Labels = table[labels]
    else:
        values = labels
    by_answer = isinstance(labels, str) and labels == "answer"
    groups = near_duplicates(table["subject"].tolist()) if by_answer else table["answer"]
    return make_folds(values, groups, count=count, least=least, seed=seed)
