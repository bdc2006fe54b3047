"""Inner products of old and new facts' loss gradients: what a step on one does to another."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.measures.rows import Array, as_rows

Optimizer = Literal["sgd", "adamw"]
Products = dict[str, Float64[np.ndarray, "old new"]]


@dataclass(frozen=True)
class GradientKernel:
    """⟨gᵢ, gⱼ⟩ of each old fact i and each new fact j, by component of the network.

    g is the gradient of a fact's loss: cross-entropy (nats) summed over its answer's
    tokens. "adamw": each side's g is divided, entry by entry, by √(√v̂ + ε), so that the
    product is gᵢ · gⱼ / (√v̂ + ε), AdamW's step with v̂ as it stands, without momentum.

    A step with learning rate η on the mean over N answer tokens that hold fact j's changes
    fact i's loss by -η ⟨gᵢ, gⱼ⟩ / N to first order. Add up the components that are trained.

    Source: one checkpoint's term of TracIn, arXiv 2002.08484, eq. 1; after Adam's step in
    place of plain descent, LESS, arXiv 2402.04333.
    """

    optimizer: Optimizer
    old: FactSet
    new: FactSet
    products: Products
    """By component; entry (i, j) is of old fact i and new fact j."""
    old_squares: dict[str, Float64[np.ndarray, " old"]]
    """Squared norm of each old fact's gradient, by component."""
    new_squares: dict[str, Float64[np.ndarray, " new"]]

    def product(self, *components: str) -> Float64[np.ndarray, "old new"]:
        """Sum over these components, or over all.

        Raises:
            InputError: a component that the network doesn't have.
        """
        return np.sum([self.products[c] for c in self._chosen(components)], axis=0)

    def cosine(self, *components: str) -> Float64[np.ndarray, "old new"]:
        """`product` over both norms, in [-1, 1]; NaN, with a warning, of a zero gradient."""
        chosen = self._chosen(components)
        old, new = (
            np.sqrt(np.sum([squares[c] for c in chosen], axis=0))
            for squares in (self.old_squares, self.new_squares)
        )
        norms = old[:, None] * new
        if not norms.all():
            warnings.warn("a cosine is NaN: a fact's gradient is 0", stacklevel=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(norms > 0, self.product(*chosen) / norms, np.nan)

    def rise(
        self, learning_rate: float, tokens: float = 1.0, *components: str
    ) -> Float64[np.ndarray, "old new"]:
        """Predicted rise (nats) of each old fact's loss by one step on each new fact.

        Args:
            learning_rate: of the step.
            tokens: answer tokens that the step's loss is the mean of.
            components: which are trained; none: all.
        """
        return -learning_rate / tokens * self.product(*components)

    def shares(self) -> pd.DataFrame:
        """A row a component: mean over old and new facts of its share of the squared norm."""
        sides = {"old": self.old_squares, "new": self.new_squares}
        means = {
            side: {c: float(np.mean(squares[c] / sum(squares.values()))) for c in squares}
            for side, squares in sides.items()
        }
        return pd.DataFrame(means).rename_axis("component").reset_index()

    def table(self, *components: str) -> pd.DataFrame:
        """A row a pair: what `gradient_kernel.parquet` in a study's results holds.

        Columns: optimizer; old, old_subject, old_answer; the same of new; product; cosine.
        """
        sides = {"old": self.old, "new": self.new}
        rows, columns = np.indices((len(self.old), len(self.new))).reshape(2, -1)
        table = pd.DataFrame({"optimizer": self.optimizer}, index=range(len(rows)))
        for (side, facts), at in zip(sides.items(), (rows, columns), strict=True):
            own = facts.table
            for name, column in {
                "": "id",
                "_subject": "subject",
                "_answer": "answer",
            }.items():
                table[side + name] = own[column].to_numpy()[at]
        table["product"] = self.product(*components).ravel()
        table["cosine"] = self.cosine(*components).ravel()
        return table

    def part(self, old: Sequence[str], new: Sequence[str]) -> "GradientKernel":
        """Of these facts alone, by id, in their order.

        Raises:
            InputError: an id that is not among the facts.
        """
        sides = self.old.select(old), self.new.select(new)
        rows, columns = (
            np.array([place[i] for i in ids], dtype=int)
            for place, ids in ((_places(self.old), old), (_places(self.new), new))
        )
        return GradientKernel(
            self.optimizer,
            *sides,
            {c: values[np.ix_(rows, columns)] for c, values in self.products.items()},
            {c: values[rows] for c, values in self.old_squares.items()},
            {c: values[columns] for c, values in self.new_squares.items()},
        )

    def whole(self) -> "GradientKernel":
        """The same with all components added up into one, "whole"."""
        sums = (
            {"whole": np.sum(list(own.values()), axis=0)}
            for own in (self.products, self.old_squares, self.new_squares)
        )
        return GradientKernel(self.optimizer, self.old, self.new, *sums)

    def _chosen(self, components: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(components) - set(self.products):
            raise InputError(
                f"no component {sorted(unknown)[0]!r}; there are {', '.join(self.products)}"
            )
        return components or tuple(self.products)


def gradient_kernel(
    old: Mapping[str, Array],
    new: Mapping[str, Array],
    old_facts: FactSet,
    new_facts: FactSet,
    optimizer: Optimizer = "sgd",
) -> GradientKernel:
    """All inner products of two sets of gradients, or of sketches of them, by component.

    Unchanged by one rotation of both sides of a component; changed by shifts, and in
    proportion to either side's scale. Float64 inside.

    Args:
        old: by component (attention, ffn, …) a row a fact.
        new: the same components and columns.
        old_facts: row i is fact i.
        new_facts: row j is fact j.
        optimizer: whose step the rows are scaled for.

    Raises:
        InputError: components, columns or rows that don't match, or a value that isn't
            finite.
    """
    if old.keys() != new.keys() or not old:
        raise InputError(
            f"old gradients have the components {sorted(old)}, new ones {sorted(new)}; "
            "take both from one network"
        )
    products, old_squares, new_squares = {}, {}, {}
    for component in old:
        x = as_rows(old[component], f"old, {component}")
        y = as_rows(new[component], f"new, {component}")
        if (len(x), len(y)) != (len(old_facts), len(new_facts)) or x.shape[1] != y.shape[1]:
            raise InputError(
                f"{component}: gradients of shapes {x.shape} and {y.shape} for "
                f"{len(old_facts)} old and {len(new_facts)} new facts; give a row a fact, "
                "by one sketch"
            )
        products[component] = x @ y.T
        old_squares[component] = np.square(x).sum(1)
        new_squares[component] = np.square(y).sum(1)
    return GradientKernel(
        optimizer, old_facts, new_facts, products, old_squares, new_squares
    )


def agreement(found: GradientKernel, exact: GradientKernel) -> pd.DataFrame:
    """A row a component and one for "all": correlations of products and of cosines.

    Pearson's, over all pairs of an old and a new fact; in [-1, 1]; NaN, with a warning,
    where one side is constant.

    Raises:
        InputError: kernels of other facts or components.
    """
    if (found.old.ids, found.new.ids) != (exact.old.ids, exact.new.ids):
        raise InputError("the two kernels are of other facts; compare them over the same")
    rows = []
    for name in (*found.products, "all"):
        only = () if name == "all" else (name,)
        pairs = {
            "product": (found.product(*only), exact.product(*only)),
            "cosine": (found.cosine(*only), exact.cosine(*only)),
        }
        rows.append({"component": name} | {k: _correlation(*p) for k, p in pairs.items()})
    return pd.DataFrame(rows)


def _places(facts: FactSet) -> dict[str, int]:
    return {name: place for place, name in enumerate(facts.ids)}


def _correlation(a: Float64[np.ndarray, "o n"], b: Float64[np.ndarray, "o n"]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        warnings.warn("correlation is NaN: one side is constant", stacklevel=3)
        return float("nan")
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
