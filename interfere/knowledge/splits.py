"""Disjoint sets of facts to train on and to measure, with answers in like proportions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.keys import synthetic_keys
from interfere.knowledge.draw import Pool, Pools, draw


@dataclass(frozen=True)
class Split:
    """Sets with no fact in common, each shuffled by `seed`."""

    known: FactSet
    """HighlyKnown, to train on."""
    unknown: FactSet
    """Strictly Unknown, or synthetic, to train on."""
    validation: FactSet
    """HighlyKnown, for choosing settings."""
    held_out: FactSet
    """HighlyKnown, measured and never trained on."""
    control: FactSet
    """Hexadecimal subjects under the same questions."""
    others: FactSet
    """HighlyKnown facts in no other set; at most as many as `unknown` had when drawn."""
    notes: tuple[str, ...]
    """Where answers or relations could not be matched, and by how much they differ."""
    seed: int
    told: bool = True
    """Whether somebody said what the model knows; else `known` is all that is trained on."""

    @classmethod
    def for_training(cls, facts: FactSet) -> "Split":
        """All facts to train on, none to measure: whatever the model knows of them."""
        none = facts[:0]
        return cls(facts, none, none, none, none, none, notes=(), seed=0, told=False)

    def with_others(self, facts: FactSet) -> "Split":
        """The same with other Known facts to spend, such as for replay; none trained on.

        Raises:
            InputError: none is left.
        """
        trained = set(self.training.ids)
        others = facts.select(id_ for id_ in facts.ids if id_ not in trained)
        if not len(others):
            raise InputError(f"{facts.source}: every fact is one that is trained on")
        return replace(self, others=others)

    @property
    def training(self) -> FactSet:
        """Known facts, then unknown ones."""
        return self.known + self.unknown if len(self.unknown) else self.known

    @property
    def known_only(self) -> "Split":
        """The same without unknown facts."""
        return replace(self, unknown=self.unknown[:0])

    def with_unknown(self, facts: FactSet) -> "Split":
        """The same with other new facts, such as synthetic keys.

        A control subject that is among the new ones leaves the control.

        Raises:
            InputError: a fact that is in another set of the split.
        """
        new = {(fact.subject, fact.relation) for fact in facts}
        for name in ("known", "validation", "held_out", "others"):
            own: FactSet = getattr(self, name)
            if twice := [fact for fact in own if (fact.subject, fact.relation) in new]:
                raise InputError(
                    f"{facts.source}: {twice[0].relation} of {twice[0].subject!r} is in "
                    f"the split's {name} already; new facts need subjects of their own"
                )
        kept = tuple(f for f in self.control if (f.subject, f.relation) not in new)
        return replace(self, unknown=facts, control=replace(self.control, facts=kept))


def draw_split(
    facts: FactSet,
    table: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    *,
    sizes: Mapping[str, int],
    cap: int | None,
    seed: int,
    drop_shared_subjects: bool,
    drop_shared_objects: bool,
) -> Split:
    """See `Knowledge.split`; `table` is its table, `sizes` by the names of the sets."""
    if wrong := [name for name, size in sizes.items() if size < 0]:
        raise InputError(f"{wrong[0]} must be 0 or more facts, got {sizes[wrong[0]]}")
    if cap is not None and cap < 1:
        raise InputError(f"cap must be at least 1 fact an answer, got {cap}")
    random = np.random.default_rng(seed)
    usable = table[table["category"] != "exemplar"]
    pools = Pools(
        known=Pool.of(usable[usable["category"] == "HighlyKnown"], "HighlyKnown", random),
        unknown=Pool.of(usable[usable["strict"]], "strictly Unknown", random),
        any=Pool.of(usable, "categorised", random),
    )
    if drop_shared_objects:
        tested = _tested_answers(pools.known, sizes, random)
        pools = replace(
            pools,
            known=pools.known.without(lambda row: row.answer in tested),
            unknown=pools.unknown.without(lambda row: row.answer in tested),
            tested=pools.known.without(lambda row: row.answer not in tested),
        )
    drawn, notes = draw(pools, sizes, cap=cap, shared_subjects=not drop_shared_subjects)
    sets = {
        name: facts.select([rows[i].id for i in random.permutation(len(rows))])
        for name, rows in drawn.items()
    }
    if len(sets["control"]):
        # not the seed itself: a study's hexadecimal keys of that seed are other names
        keys = synthetic_keys(
            sets["control"], "hex", tokenizer, seed=seed + 2**31, avoid=facts
        )
        sets["control"] = keys
    return Split(**sets, notes=notes, seed=seed, told=True)


def _tested_answers(
    known: Pool, sizes: Mapping[str, int], random: np.random.Generator
) -> set[str]:
    """Answers kept for the measured sets: drawn until they have their share of facts."""
    counts: dict[str, int] = {}
    for row in known.rows:
        counts[row.answer] = counts.get(row.answer, 0) + 1
    needed = sizes["held_out"] + sizes["validation"]
    share = needed / max(1, needed + sizes["known"])
    names = sorted(counts)
    tested: set[str] = set()
    total = 0
    for i in random.permutation(len(names)):
        if total >= max(needed, share * len(known.rows)):
            break
        tested.add(names[i])
        total += counts[names[i]]
    return tested
