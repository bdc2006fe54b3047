"""Before and after, aligned fact by fact: drift, similarity, split and net loss."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from interfere.activations.pairs import Pair, pair
from interfere.activations.recording import Recording, open_recording
from interfere.measures.all_pairs_cka import all_pairs_cka
from interfere.measures.behaviour import behaviour
from interfere.measures.cka import cka
from interfere.measures.displacement_split import displacement_split
from interfere.measures.drift import drift
from interfere.measures.jackknife import GROUPS
from interfere.measures.rows import as_rows
from interfere.measures.similarities import SIMILARITIES, similarity_interval
from interfere.measures.statistics import difference_interval


@dataclass(frozen=True)
class Comparison:
    """Two recordings of the same questions, by one model at two times."""

    pair: Pair

    def drift(self) -> pd.DataFrame:
        """How far each fact moved: a row a hook, position and fact.

        Columns: hook, position, fact (its id), drift (1 - cosine, in [0, 2]),
        relative_norm and displacement as in `measures.drift.Drift`.

        Raises:
            InputError: a NaN or infinite activation.
        """
        ids = self.pair.before.table["id"]
        tables = []
        for hook, position in product(self.pair.hooks, self.pair.positions):
            before, after = self._rows(hook, position)
            moved = asdict(drift(before, after))
            table = pd.DataFrame({"fact": ids, **moved})
            table.insert(0, "hook", hook)
            table.insert(1, "position", position)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def cka(self, all_pairs: bool = False) -> pd.DataFrame:
        """Debiased linear CKA of before and after: a row a hook and position.

        Its interval, which costs twenty times as much, is `similarity(["cka"])`'s.

        Columns: hook, position, cka, facts. With `all_pairs` also other_hook: each hook
        before against each hook after at the same position; all of a position's hooks are
        held in memory then, and above 2,048 facts values are within 1e-5 of `cka`.

        Raises:
            InputError: fewer than four facts, or a NaN or infinite activation.
        """
        if all_pairs:
            return self._all_pairs()
        rows = []
        for position, hook in product(self.pair.positions, self.pair.hooks):
            found = cka(*self._rows(hook, position))
            row = {"hook": hook, "position": position}
            rows.append(row | {"cka": found.value, "facts": found.facts})
        return pd.DataFrame(rows)

    def similarity(
        self,
        measures: Sequence[str] = tuple(SIMILARITIES),
        *,
        groups: int = GROUPS,
        seed: int = 0,
    ) -> pd.DataFrame:
        """How alike the facts' arrangement is: a row a hook, position and measure.

        Columns: hook, position, measure, value, low, high (95 % interval by delete-group
        jackknife over answers, cut at the measure's range), facts, groups.

        Args:
            measures: of `measures.similarities.SIMILARITIES`. Above some thousand facts
                `rsa` and `rbf_cka`, which hold a number a pair of facts, take longest.
            groups: of answers, each left out once: a row costs groups + 1 times its measure.
            seed: of the dealing of answers into groups.

        Raises:
            InputError: no measure of that name, too few facts for one, or a NaN or infinite
                activation.
        """
        answers, rows = self.pair.before.table["answer"], []
        for hook, position in product(self.pair.hooks, self.pair.positions):
            before, after = self._rows(hook, position)
            for measure in measures:
                found = similarity_interval(
                    before, after, answers, measure, groups=groups, seed=seed
                )
                row = {"hook": hook, "position": position, "measure": measure}
                ends = {end: float(getattr(found, end)) for end in ("value", "low", "high")}
                rows.append(row | ends | {"facts": len(before), "groups": found.groups})
        return pd.DataFrame(rows)

    def split(self, per_fact: bool = False) -> pd.DataFrame:
        """Displacement common to a relation and a fact's own: a row a hook and position.

        Columns: hook, position, common (share of the squared displacement that all facts
        of a relation have in common), low, high (95 %, answers resampled), residual
        (1 - common), smallest (share that could have shown), facts. With `per_fact` a row
        a fact instead: hook, position, fact (its id), relation, common, residual,
        alignment, length, shift as in `measures.displacement_split`.

        Raises:
            InputError: a NaN or infinite activation.
        """
        facts = self.pair.before.table
        tables = []
        for hook, position in product(self.pair.hooks, self.pair.positions):
            found = displacement_split(
                *self._rows(hook, position),
                facts["relation"],
                facts["answer"],
                name=self._name(hook, position),
            )
            if per_fact:
                table = facts[["id", "relation"]].rename(columns={"id": "fact"})
                for field in ("common", "residual", "alignment", "length", "shift"):
                    table[field] = getattr(found, field)
            else:
                share = found.share
                row = {"common": share.value, "low": share.low, "high": share.high}
                row |= {"residual": 1 - share.value, "smallest": share.smallest}
                table = pd.DataFrame([row | {"facts": found.facts}])
            table.insert(0, "hook", hook)
            table.insert(1, "position", position)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def net_loss(self) -> pd.DataFrame:
        """One row: facts, right_before, right_after, lost, gained, net_loss, its interval.

        low and high (95 %, answers resampled) and smallest, the loss that could have shown;
        NaN where answers are too few. Right: greedy decoding gives the canonical answer and
        ends it, from the recorded forward pass; other accepted names of an answer count as
        wrong here.
        """
        found = behaviour(self.pair.before.right, self.pair.after.right)
        names = ("facts", "right_before", "right_after", "lost", "gained", "net_loss")
        row = {name: getattr(found, name) for name in names}
        before, after = self.pair.before, self.pair.after
        interval = difference_interval(
            before.right[None].astype(np.float64),
            after.right[None].astype(np.float64),
            before.table["answer"],
        )
        ends = {name: getattr(interval, name) for name in ("low", "high", "smallest")}
        return pd.DataFrame([row | ends])

    def _all_pairs(self) -> pd.DataFrame:
        hooks, tables = self.pair.hooks, []
        for position in self.pair.positions:
            before, after = (
                {self._name(hook, position): side[hook, position].numpy() for hook in hooks}
                for side in (self.pair.before, self.pair.after)
            )
            table = pd.DataFrame(
                list(product(hooks, hooks)), columns=["hook", "other_hook"]
            )
            found = all_pairs_cka(before, after).ravel()
            facts = len(self.pair.before)
            tables.append(table.assign(position=position, cka=found, facts=facts))
        return pd.concat(tables, ignore_index=True)

    def _rows(self, hook: str, position: str) -> tuple[np.ndarray, np.ndarray]:
        before, after = (side.numpy() for side in self.pair[hook, position])
        name = self._name(hook, position)
        return as_rows(before, f"before, {name}"), as_rows(after, f"after, {name}")

    def _name(self, hook: str, position: str) -> str:
        return f"{hook}/{position}"


def compare(before: Recording | str | Path, after: Recording | str | Path) -> Comparison:
    """Align two recordings of the same questions fact by fact.

    Hooks and positions that one of them lacks are left out, with a warning that names them.

    Raises:
        InputError: unfinished or damaged files, or recordings of other prompts or tokens.
    """
    first, second = (
        side if isinstance(side, Recording) else open_recording(side)
        for side in (before, after)
    )
    found = pair(first, second)
    for kind in ("hooks", "positions"):
        ours, theirs = (set(getattr(side, kind)) for side in (first, second))
        if alone := sorted(ours ^ theirs):
            lacking = second if alone[0] in ours else first
            warnings.warn(
                f"{lacking.path} lacks {alone[0]}; {len(alone)} {kind} that only one of "
                f"{first.path} and {second.path} holds are left out",
                stacklevel=2,
            )
    return Comparison(found)
