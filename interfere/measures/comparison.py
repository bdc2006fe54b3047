"""Before and after, aligned fact by fact: drift, CKA, split and net loss as tables."""

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from interfere.activations.pairs import Pair, pair
from interfere.activations.recording import Recording, open_recording
from interfere.measures.behaviour import behaviour
from interfere.measures.cka import cka
from interfere.measures.displacement_split import displacement_split
from interfere.measures.drift import drift
from interfere.measures.rows import as_rows


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

        Columns: hook, position, cka, facts. With `all_pairs` also other_hook: each hook
        before against each hook after at the same position.

        Raises:
            InputError: fewer than four facts, or a NaN or infinite activation.
        """
        rows = []
        for position in self.pair.positions:
            for hook in self.pair.hooks:
                for other in self.pair.hooks if all_pairs else [hook]:
                    before = as_rows(
                        self.pair.before[hook, position].numpy(),
                        f"before, {self._name(hook, position)}",
                    )
                    after = as_rows(
                        self.pair.after[other, position].numpy(),
                        f"after, {self._name(other, position)}",
                    )
                    found = cka(before, after)
                    row = {"hook": hook, "other_hook": other, "position": position}
                    rows.append(row | {"cka": found.value, "facts": found.facts})
        table = pd.DataFrame(rows)
        return table if all_pairs else table.drop(columns="other_hook")

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
        """One row: facts, right_before, right_after, lost, gained, net_loss.

        Right: greedy decoding gives the canonical answer and ends it, from the recorded
        forward pass; other accepted names of an answer count as wrong here.
        """
        found = behaviour(self.pair.before.right, self.pair.after.right)
        names = ("facts", "right_before", "right_after", "lost", "gained", "net_loss")
        return pd.DataFrame([{name: getattr(found, name) for name in names}])

    def _rows(self, hook: str, position: str) -> tuple[np.ndarray, np.ndarray]:
        before, after = (side.numpy() for side in self.pair[hook, position])
        name = self._name(hook, position)
        return as_rows(before, f"before, {name}"), as_rows(after, f"after, {name}")

    def _name(self, hook: str, position: str) -> str:
        return f"{hook}/{position}"


def compare(before: Recording | str | Path, after: Recording | str | Path) -> Comparison:
    """Align two recordings of the same questions fact by fact.

    Raises:
        InputError: unfinished or damaged files, or recordings of other prompts or tokens.
    """
    first, second = (
        side if isinstance(side, Recording) else open_recording(side)
        for side in (before, after)
    )
    return Comparison(pair(first, second))
