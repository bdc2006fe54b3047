from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binom
from tiny_models import CONFIGS, places, tiny_model

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.facts.geonames import geonames
from interfere.facts.matching import is_right, surface_forms
from interfere.facts.questions import few_shot_prefix, prompt, target
from interfere.models import answering
from interfere.models.answering import ask
from interfere.models.generation import generate, sample
from interfere.models.trie import terminators

PREFIX = few_shot_prefix(places()[40:44])


def plain(model, fact, prefix, temperature, top_k):
    """Right, probability and log-probability, one unbatched forward a form."""
    words, ends = model.tokenizer, torch.from_numpy(terminators(model.tokenizer))
    head = words(prefix + prompt(fact), add_special_tokens=False).input_ids

    def steps(tail):
        with torch.no_grad():
            logits = model.network(torch.tensor([head + tail])).logits[0].double()
        return logits[len(head) - 1 :]

    right, chance = False, 0.0
    for form in surface_forms(fact):
        tail = words(f" {form}", add_special_tokens=False).input_ids
        logits = steps(tail)
        kept = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
        p = (logits.masked_fill(logits < kept, -torch.inf) / temperature).softmax(-1)
        path = torch.stack([p[i, token] for i, token in enumerate(tail)])
        chance += (path.prod() * p[-1][: len(ends)][ends].sum()).item()
        argmax = logits.argmax(-1).tolist()
        right |= argmax[:-1] == tail and bool(ends[argmax[-1]])
    tail = words(target(fact.answer), add_special_tokens=False).input_ids
    logs = steps(tail).log_softmax(-1)
    return right, chance, sum(logs[i, token].item() for i, token in enumerate(tail))


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("prefix", ["", PREFIX], ids=["zero-shot", "few-shot"])
def test_equals_one_forward_a_form(architecture, prefix, monkeypatch):
    monkeypatch.setattr(answering, "NEGLIGIBLE", 0.0)
    model, facts = tiny_model(architecture), places()[:6]
    found = ask(model, facts, prefix=prefix, temperature=2.0, top_k=300, batch_tokens=60)
    for i, fact in enumerate(facts):
        right, chance, logprob = plain(model, fact, prefix, 2.0, 300)
        assert found.right[i] == right
        assert found.probability[i] == pytest.approx(chance, rel=1e-3, abs=1e-15)
        assert found.logprob[i] == pytest.approx(logprob, rel=1e-4)


def test_shared_prefix_changes_nothing(nano):
    facts = geonames(["P17"], limit=300)
    one = ask(nano, facts, prefix=few_shot_prefix(facts[200:204]))
    other = ask(nano, facts, prefix=few_shot_prefix(facts[200:204]), share_prefix=False)
    assert (one.right == other.right).all()
    np.testing.assert_allclose(one.logprob, other.logprob, atol=1e-4)
    np.testing.assert_allclose(one.probability, other.probability, atol=1e-4)


def test_batches_and_order_change_nothing(nano):
    facts = geonames(["P17", "P30"], limit=60)
    whole = ask(nano, facts)
    backwards = replace(facts, facts=facts.facts[::-1])
    other = ask(nano, backwards, batch_tokens=1)
    np.testing.assert_allclose(other.logprob[::-1], whole.logprob, atol=1e-4)
    np.testing.assert_allclose(other.probability[::-1], whole.probability, atol=1e-4)
    assert (other.right[::-1] == whole.right).all()


def test_greedy_is_what_generation_says(nano):
    facts = geonames(["P17"], limit=1000)
    prefix = few_shot_prefix(facts[100:104])
    right = ask(nano, facts, prefix=prefix, sampling=False).right
    said = generate(nano, facts, prefix=prefix)
    unlike = [
        (fact.subject, fact.answer, text)
        for fact, found, text in zip(facts, right, said, strict=True)
        if found != is_right(text, fact)
    ]
    assert 0.2 < right.mean() < 0.95
    assert len(unlike) <= 0.005 * len(facts), unlike


def test_sampled_counts_lie_in_binomial_bands(nano):
    """At a temperature where answers waver; each fact within a band missed once in 10⁵."""
    facts, samples = geonames(["P17"], limit=1000), 100
    chance = ask(nano, facts, temperature=1.5).probability
    wavers = np.flatnonzero((chance > 0.1) & (chance < 0.9))[:30]
    assert len(wavers) == 30
    facts, chance = facts.select(facts[int(i)].id for i in wavers), chance[wavers]
    drawn = sample(nano, facts, samples=samples, temperature=1.5, seed=0)
    right = np.array(
        [
            sum(is_right(text, f) for text in said)
            for f, said in zip(facts, drawn, strict=True)
        ]
    )
    assert (right >= binom.ppf(5e-6, samples, chance)).all()
    # a lower bound: other tokenisations and forgiven punctuation are not in it
    assert (right <= binom.ppf(1 - 5e-6, samples, np.minimum(1, chance + 0.01))).all()
    error = np.sqrt((samples * chance * (1 - chance)).sum())
    assert abs(right.sum() - samples * chance.sum()) < 4 * error + 0.005 * right.sum()


def test_without_sampling_the_probability_is_missing_and_the_rest_equal(nano):
    facts = geonames(["P17"], limit=40)
    whole, part = ask(nano, facts), ask(nano, facts, sampling=False)
    assert np.isnan(part.probability).all()
    assert (part.right == whole.right).all()
    np.testing.assert_array_equal(part.logprob, whole.logprob)


def test_an_alias_is_right(nano):
    fact = geonames(["P17"], limit=1)[0]
    assert ask(nano, FactSet((fact,), "test")).right.all()
    renamed = replace(fact, answer="Cathay", aliases=(fact.answer,))
    found = ask(nano, FactSet((renamed,), "test"))
    assert found.right.all()
    assert found.probability[0] > 0.9
    assert found.logprob[0] < -5


def test_no_facts_give_empty_arrays(nano):
    found = ask(nano, FactSet((), "test"))
    assert len(found.right) == len(found.probability) == len(found.logprob) == 0


def test_each_module_keeps_its_mode():
    model = tiny_model().copy()
    model.network.train()
    frozen = model.network.base_model.layers[0].eval()
    ask(model, places()[:3])
    assert model.network.training
    assert not frozen.training


def test_only_needed_positions_are_unembedded():
    model, facts = tiny_model().copy(), places()[:10]
    rows = []
    model.network.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: rows.append(output.shape[:-1].numel())
    )
    ask(model, facts, sampling=False)
    ask(model, facts, sampling=False)
    lengths = [
        len(model.tokenizer(target(fact.answer), add_special_tokens=False).input_ids)
        for fact in facts
    ]
    assert rows[-1] == sum(lengths)


@pytest.mark.parametrize(
    ("facts", "settings", "message"),
    [
        (
            [Fact("1", "Oz", "P17", " ")],
            {},
            r"test: the answer ' ' to P17 of 'Oz' tokenises to nothing; give it a visible",
        ),
        ([Fact("1", "Oz", "P999", "Kansas")], {}, "'P999' has no question template"),
        ([], {"temperature": 0}, "temperature must be above 0, got 0"),
        ([], {"top_k": 0}, "top_k must be at least 1, got 0"),
    ],
)
def test_bad_input(nano, facts, settings, message):
    with pytest.raises(InputError, match=message):
        ask(nano, FactSet(tuple(facts), "test"), **settings)
