"""Erased or misread: is what a probe found before gone, or only where it no longer looks?"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.comparison import Comparison
from interfere.measures.fold_readers import Kind, fold_readers, is_constant, read
from interfere.measures.folds import FOLDS, LEAST, Folds, fact_folds
from interfere.measures.interval_columns import corrected, interval_columns
from interfere.measures.rows import Array, Labels, as_codes
from interfere.measures.statistics import Interval, mean_interval
from interfere.models.layers import layer


@dataclass(frozen=True)
class ProbeTransfer:
    """The same facts read by probes that were trained before and after.

    Of the fall that the old probe sees, before - carried = erased + misread.

    Source: linear probes, Alain & Bengio 2016, arXiv 1610.01644; the split of the fall by
    probes of both times is ours.
    """

    before: Interval
    """Share of facts read right: trained before, read before."""
    carried: Interval
    """Trained before, read after."""
    recentred: Interval
    """Trained before, read after less the mean displacement of the training facts."""
    retrained: Interval
    """Trained after, read after."""
    erased: Interval
    """before - retrained: what no linear probe finds any more. Negative: it is plainer."""
    misread: Interval
    """retrained - carried: what is there, and the old probe doesn't find."""
    shift: Interval
    """recentred - carried: the part of `misread` that is a shift common to all facts."""
    facts: int


@dataclass(frozen=True)
class Readings:
    """Whether each kept fact is read right, by whom: 1 or 0; a row a seed."""

    before: Float64[np.ndarray, "seeds kept"]
    carried: Float64[np.ndarray, "seeds kept"]
    recentred: Float64[np.ndarray, "seeds kept"]
    retrained: Float64[np.ndarray, "seeds kept"]

    def summary(
        self,
        clusters: Labels,
        *,
        chance: float,
        among: Bool[np.ndarray, " kept"] | None = None,
        resamples: int = 2000,
        seed: int = 0,
    ) -> ProbeTransfer:
        """Shares and differences: seeds averaged, clusters resampled.

        Args:
            clusters: one label a kept fact, its answer.
            chance: the `null` of the shares.
            among: which kept facts count; None: all.
            resamples: of the bootstrap.
            seed: of the bootstrap.

        Raises:
            InputError: labels that don't match the facts, or no facts.
        """
        facts = self.before.shape[1]
        as_codes(clusters, facts)
        chosen = np.ones(facts, dtype=bool) if among is None else among
        labels = np.asarray(clusters, dtype=object)[chosen]

        def interval(
            values: Float64[np.ndarray, "seeds kept"], null: float = 0.0
        ) -> Interval:
            if np.isnan(values).any():
                nan = float("nan")
                return Interval(nan, nan, nan, nan, nan, nan, null=null)
            found = mean_interval(values[:, chosen], labels, resamples=resamples, seed=seed)
            return found.against(null)

        return ProbeTransfer(
            before=interval(self.before, chance),
            carried=interval(self.carried, chance),
            recentred=interval(self.recentred, chance),
            retrained=interval(self.retrained, chance),
            erased=interval(self.before - self.retrained),
            misread=interval(self.retrained - self.carried),
            shift=interval(self.recentred - self.carried),
            facts=int(chosen.sum()),
        )


def readings(
    before: Float[np.ndarray, "n1 ..."] | Float[Tensor, "n1 ..."],
    after: Float[np.ndarray, "n2 ..."] | Float[Tensor, "n2 ..."],
    folds: Folds,
    *,
    kind: Kind = "discriminant",
    name: str = "activations",
) -> Readings:
    """Read each fact by probes trained on facts of the other folds, before and after.

    A probe takes the scaling of its own training rows with it, so that to a probe trained
    before, a shift common to all facts is a change: it is `misread` where it moves facts
    across a boundary, and `recentred` undoes it; a shift along no direction that the probe
    reads changes nothing. `erased` is what a *linear* probe on so many facts can't find:
    what was bent, or needs more facts to be found, counts as erased. Not blind to rotations
    of after: they are what `misread` is for. NaN, with a warning, where a side is constant.

    Args:
        before: one row a fact, for all facts that `folds` were made from.
        after: the same facts, in as many dimensions.
        folds: which facts are read, by which probe; see `fact_folds`.
        kind: of probe; see `fold_readers`.
        name: says in errors and warnings what they are about.

    Raises:
        InputError: rows that don't match the folds, dimensions that differ, or a value
            that isn't finite.
    """
    x, y = folds.kept(before, f"before, {name}"), folds.kept(after, f"after, {name}")
    if x.shape != y.shape:
        raise InputError(
            f"{name}: before has {x.shape[1]} dimensions, after {y.shape[1]}; a probe can "
            "only be carried over inside one hook"
        )
    for side, rows in {"before": x, "after": y}.items():
        if is_constant(rows):
            warnings.warn(
                f"{side}, {name}: probe transfer is NaN: all rows are equal", stacklevel=2
            )
            nothing = np.full((1, len(x)), np.nan)
            return Readings(nothing, nothing, nothing, nothing)
    codes, fold = folds.codes, folds.fold
    old, new = fold_readers(x, codes, fold, kind), fold_readers(y, codes, fold, kind)
    moved = y - x
    common = np.stack([moved[fold != k].mean(0) for k in range(len(old))])[fold]
    read_by = {
        "before": (old, x),
        "carried": (old, y),
        "recentred": (old, y - common),
        "retrained": (new, y),
    }
    return Readings(
        **{
            who: (read(readers, rows, fold) == codes).astype(np.float64)[None]
            for who, (readers, rows) in read_by.items()
        }
    )


def together(seeds: Sequence[Readings]) -> Readings:
    """The same facts read under several seeds, so that seeds are averaged."""
    names = [field.name for field in fields(Readings)]
    return Readings(
        **{name: np.concatenate([getattr(seed, name) for seed in seeds]) for name in names}
    )


def probe_transfer(
    change: Comparison,
    *,
    labels: Literal["answer", "relation"] | Labels = "answer",
    kind: Kind = "discriminant",
    count: int = FOLDS,
    least: int = LEAST,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """`readings` at each hook and position, in forward order.

    Columns: hook, layer (missing outside the blocks), position, among, then the fields of
    `ProbeTransfer`, each interval as `…`, `…_low`, `…_high` and `…_smallest` (of
    erased, misread and shift also `…_p` and `…_p_holm`, over hooks and positions), then
    chance, classes and left_out (facts of classes that are too small). A row each for
    `among` "all" facts, the "forgotten" (right before and wrong after) and the "kept"
    (right at both times); the latter two where scores were recorded and there are such
    facts. A forgotten fact that is erased is gone; one that is misread is still there.

    Args:
        change: before and after.
        labels: what is to be read: a column, or one label a fact.
        kind: of probe; see `fold_readers`.
        count: folds.
        least: facts a class; smaller classes are left out.
        resamples: of the bootstrap over answers.
        seed: of the folds and the bootstrap.

    Raises:
        InputError: fewer than two classes of that size, or as in `readings`.
    """
    pair = change.pair
    table = pair.before.table
    folds = fact_folds(table, labels, count=count, least=least, seed=seed)
    answers = folds.labels(table["answer"], "answers")
    sets = {name: mask[folds.rows] for name, mask in _outcomes(change).items()}
    rows = []
    for position, hook in product(pair.positions, pair.hooks):
        before, after = (side.numpy() for side in pair[hook, position])
        found = readings(before, after, folds, kind=kind, name=f"{hook}/{position}")
        for among, mask in sets.items():
            if not mask.any():
                continue
            result = found.summary(
                answers, chance=folds.chance, among=mask, resamples=resamples, seed=seed
            )
            place = {"hook": hook, "layer": layer(hook), "position": position}
            rows.append(place | {"among": among} | _flat(result))
    classes = {
        "chance": folds.chance,
        "classes": len(folds.classes),
        "left_out": folds.facts - len(folds.rows),
    }
    table = corrected(pd.DataFrame(rows), ["erased", "misread", "shift"], by="among")
    return table.assign(**classes).astype({"layer": "Int64"})


def _outcomes(change: Comparison) -> dict[str, Array]:
    sides = change.pair.before, change.pair.after
    every = {"all": np.ones(len(sides[0]), dtype=bool)}
    if not all(side.attributes.get("scores", 1) for side in sides):
        return every
    before, after = (side.right for side in sides)
    return every | {"forgotten": before & ~after, "kept": before & after}


def _flat(found: ProbeTransfer) -> dict[str, float]:
    names = [name for name, value in vars(found).items() if isinstance(value, Interval)]
    return interval_columns(**{name: getattr(found, name) for name in names}) | {
        "facts": found.facts
    }
