"""Side effects: relations apart, and perplexity as a ratio with its interval."""

import numpy as np
import pytest
from tiny_models import tiny_model

from interfere.errors import InputError
from interfere.measures.side_effects import by_relation, perplexity_change
from interfere.models.perplexity import Perplexity, perplexity

RELATIONS = np.repeat(["P36", "P17"], 200)
ANSWERS = np.concatenate([np.repeat(np.arange(50), 4), np.repeat(np.arange(50), 4)])


def test_only_the_relation_that_fell_shows():
    rng = np.random.default_rng(0)
    before = rng.random(400) < 0.8
    after = before.copy()
    after[RELATIONS == "P17"] &= rng.random(200) < 0.7
    table = by_relation(before, after, RELATIONS, ANSWERS).set_index("relation")
    assert list(table.index) == ["P36", "P17"]
    fell, kept = table.loc["P17"], table.loc["P36"]
    own = RELATIONS == "P17"
    assert fell["before"] == before[own].mean()
    assert fell["after"] == after[own].mean()
    assert fell["change"] == pytest.approx(after[own].mean() - before[own].mean())
    assert fell["change_high"] < 0
    assert fell["p"] < 0.001
    assert fell["p_holm"] == pytest.approx(2 * fell["p"])
    assert (kept["change"], kept["p"], kept["p_holm"]) == (0, 1, 1)
    assert (fell["facts"], fell["answers"]) == (200, 50)


def test_other_facts_are_refused():
    with pytest.raises(InputError, match="expected the same facts twice, got 2, 3"):
        by_relation(np.ones(2, bool), np.ones(3, bool), ["a"] * 2, ["b"] * 2)


def scored(rise: float, seed: int = 0) -> tuple[Perplexity, Perplexity]:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(20, 60, size=100)
    nats = tokens * rng.normal(3, 0.3, size=100)
    grown = nats + tokens * rng.normal(rise, 0.2, size=100)
    return Perplexity(nats, tokens), Perplexity(grown, tokens)


def test_a_planted_rise_is_covered():
    covered = 0
    for seed in range(200):
        found = perplexity_change(*scored(0.1, seed), resamples=300, seed=seed)
        covered += found.ratio.low <= np.exp(0.1) <= found.ratio.high
    assert covered / 200 == pytest.approx(0.95, abs=0.045)


def test_the_ratio_is_that_of_the_perplexities():
    before, after = scored(0.3)
    found = perplexity_change(before, after)
    assert found.ratio.value == pytest.approx(after.value / before.value)
    assert found.nats.value == pytest.approx(np.log(after.value / before.value))
    assert (found.before, found.after) == (before.value, after.value)
    assert (found.ratio.shows, found.nats.shows, found.nats.null) == (True, True, 0)
    back = perplexity_change(after, before)
    assert back.ratio.low == pytest.approx(1 / found.ratio.high)


def test_no_change_does_not_show():
    assert not perplexity_change(*scored(0.0)).ratio.shows
    before, _ = scored(0.0)
    same = perplexity_change(before, before)
    assert (same.ratio.value, same.ratio.low, same.ratio.high) == (1, 1, 1)
    assert np.isnan(same.ratio.smallest)


def test_texts_of_one_document_move_together():
    before, after = scored(0.1)
    alone = perplexity_change(before, after)
    rise = np.repeat(after.nats[::10] - before.nats[::10], 10)
    copied = Perplexity(before.nats + rise, before.tokens)
    by_text = perplexity_change(before, copied)
    by_document = perplexity_change(before, copied, documents=np.repeat(np.arange(10), 10))
    width = by_text.nats.high - by_text.nats.low
    assert by_document.nats.high - by_document.nats.low > 1.5 * width
    assert alone.texts == 100


def test_models_are_scored_and_compared():
    texts = [f"The mill at bend {i} grinds corn and rye." for i in range(45)]
    before, after = tiny_model("llama"), tiny_model("llama", seed=1)
    found = perplexity_change(perplexity(before, texts), perplexity(after, texts))
    assert found.ratio.value == pytest.approx(found.after / found.before)


def test_other_texts_are_refused():
    before, after = scored(0.0)
    other = Perplexity(after.nats, after.tokens + 1)
    with pytest.raises(InputError, match="before and after scored other tokens"):
        perplexity_change(before, other)
