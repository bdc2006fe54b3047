"""What a model knows of a set of facts."""

from dataclasses import dataclass

import pandas as pd
from transformers import PreTrainedTokenizerBase

from interfere.facts.fact import FactSet
from interfere.knowledge.categories import CATEGORIES
from interfere.knowledge.splits import Split, draw_split


@dataclass(frozen=True)
class Knowledge:
    """A SLiCK category for each fact, and what it rests on."""

    facts: FactSet
    table: pd.DataFrame
    """A row a fact, in the facts' order.

    id, subject, relation, answer; category: HighlyKnown, MaybeKnown, WeaklyKnown, Unknown
    or exemplar; strict: strictly Unknown (pi < .05); p_correct: mean over prompts of the
    probability of sampling a right answer; pi: that at least one sample is right; greedy:
    share of prompts under which greedy is right; logprob: nats, mean over prompts, of the
    canonical answer and its end; margin: logprob minus that with "it" for the subject, NaN
    for questions that do not hold their subject. Exemplars have no numbers.
    """
    exemplars: FactSet
    """What the few-shot prompts were made of; in no split."""
    tokenizer: PreTrainedTokenizerBase

    def counts(self) -> pd.DataFrame:
        """Columns relation, category, facts; `strictly Unknown` counts in Unknown too."""
        names = [*CATEGORIES, "strictly Unknown", "exemplar"]
        rows = []
        for relation, own in self.table.groupby("relation", sort=False):
            found = own["category"].value_counts().to_dict()
            found["strictly Unknown"] = int(own["strict"].sum())
            rows += [(relation, name, int(found.get(name, 0))) for name in names]
        return pd.DataFrame(rows, columns=["relation", "category", "facts"])

    def split(
        self,
        *,
        known: int,
        unknown: int,
        held_out: int,
        validation: int = 0,
        control: int = 0,
        cap: int | None = None,
        seed: int = 0,
        drop_shared_subjects: bool = False,
        drop_shared_objects: bool = False,
    ) -> Split:
        """Disjoint sets with answers in like proportions; deterministic by seed.

        Known, validation and held out are HighlyKnown, unknown is strictly Unknown. Where
        answers or relations can't be matched, the split's `notes` say how far they are off.

        Args:
            known: facts to train on that the model knows.
            unknown: facts to train on that it does not know.
            held_out: facts that it knows and that are measured.
            validation: as `held_out`, for choosing settings.
            control: hexadecimal subjects under the same questions, of matched token length.
            cap: at most so many facts of one answer in each set.
            seed: of the draw.
            drop_shared_subjects: no subject both trained on and measured (in any relation).
            drop_shared_objects: no answer both trained on and measured, so answers differ.

        Raises:
            InputError: too few facts of a kind; says how many there are.
        """
        return draw_split(
            self.facts,
            self.table,
            self.tokenizer,
            sizes={
                "known": known,
                "unknown": unknown,
                "held_out": held_out,
                "validation": validation,
                "control": control,
            },
            cap=cap,
            seed=seed,
            drop_shared_subjects=drop_shared_subjects,
            drop_shared_objects=drop_shared_objects,
        )
