"""What training on one relation does elsewhere: other relations, and neutral prose."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from interfere.errors import InputError
from interfere.measures.holm import holm
from interfere.measures.permutation import sign_flip_test
from interfere.measures.rows import Labels, as_codes
from interfere.measures.statistics import (
    RESAMPLES,
    Interval,
    difference_interval,
    ratio_interval,
)
from interfere.models.perplexity import Perplexity


def by_relation(
    before: Bool[np.ndarray, " facts1"],
    after: Bool[np.ndarray, " facts2"],
    relations: Labels,
    clusters: Labels,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracy of each relation before and after training: a row a relation.

    Columns: relation, facts, answers (clusters), before, after, change (after - before)
    with change_low and change_high (95 % over answers), smallest (the smallest change that
    could have shown), p (sign-flip test over answers) and p_holm (adjusted for the number
    of relations).

    Args:
        before: whether each fact was answered right.
        after: the same of the same facts.
        relations: one label a fact; leave out the relation that was trained, or read its
            row for what it is.
        clusters: one label a fact (its answer).
        seed: of bootstrap and permutations.

    Raises:
        InputError: not the same facts everywhere.
    """
    if len(before) != len(after):
        raise InputError(f"expected the same facts twice, got {len(before)}, {len(after)}")
    codes = as_codes(relations, len(before), "relations")
    answers = as_codes(clusters, len(before))
    names = pd.unique(pd.Series(np.asarray(relations, dtype=object)))
    rows = []
    for code, name in enumerate(names):
        own = codes == code
        old, new = (np.asarray(side, float)[own][None] for side in (before, after))
        change = difference_interval(new, old, answers[own], seed=seed)
        rows.append(
            {
                "relation": name,
                "facts": int(own.sum()),
                "answers": len(np.unique(answers[own])),
                "before": old.mean(),
                "after": new.mean(),
                "change": change.value,
                "change_low": change.low,
                "change_high": change.high,
                "smallest": change.smallest,
                "p": sign_flip_test(new - old, answers[own], seed=seed).p_value,
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].to_numpy()))


@dataclass(frozen=True)
class PerplexityChange:
    """Perplexity of the same texts before and after training."""

    before: float
    after: float
    ratio: Interval
    """after / before, with its interval over texts; `null` is 1, above it: worse."""
    nats: Interval
    """Its logarithm: nats a token more than before; `null` is 0."""
    texts: int


def perplexity_change(
    before: Perplexity,
    after: Perplexity,
    *,
    documents: Labels | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PerplexityChange:
    """Is neutral text less probable than it was?

    Args:
        before: of the texts (`models.perplexity`).
        after: of the same texts, by a model of the same tokenizer.
        documents: one label a text, where several come from one document; intervals
            resample documents. None: each text by itself.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: other texts, or tokens.
    """
    if not np.array_equal(before.tokens, after.tokens):
        raise InputError(
            "before and after scored other tokens; score the same texts with one tokenizer"
        )
    texts = len(before.tokens)
    rise: Float64[np.ndarray, "1 texts"] = (after.nats - before.nats)[None]
    labels = range(texts) if documents is None else documents
    found = ratio_interval(
        rise, before.tokens[None].astype(float), labels, resamples=resamples, seed=seed
    )
    nats = found.against(0.0)
    ends = ("value", "low", "high", "seeds_low", "seeds_high")
    grown = {name: float(np.exp(getattr(nats, name))) for name in ends}
    # The step from 1 that could have shown, upward.
    smallest = float(np.expm1(nats.smallest))
    return PerplexityChange(
        before=before.value,
        after=after.value,
        ratio=Interval(**grown, smallest=smallest, null=1.0),
        nats=nats,
        texts=texts,
    )
