"""Kernels of facts: against exact blocks, and against what one step really does."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import places, tiny_model

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames
from interfere.interventions.fact_gradients import exact_gradients, fact_gradients
from interfere.measures.gradient_blame import blame
from interfere.measures.gradient_kernel import agreement
from interfere.models.example_gradients import answer_losses
from interfere.training.rows import IGNORED, FactRows, collate
from interfere.training.second_moments import estimate_second_moments

CLAIM = 0.95


@functools.cache
def cities() -> FactSet:
    return geonames(["P17"], limit=3200)


def block(size: int = 32) -> tuple[FactSet, FactSet]:
    return cities()[: 10 * size : 10], cities()[2400 : 2400 + 10 * size : 10]


def tensors(model, facts):
    rows = FactRows(facts, model.tokenizer)
    batch = collate([rows[i] for i in range(len(rows))])
    return batch["input_ids"], batch["labels"] != IGNORED


@pytest.mark.parametrize("name", ["nano", "llama", "gpt2"])
def test_correlates_with_the_exact_block_of_32_by_32(name, nano):
    model = nano if name == "nano" else tiny_model(name)
    # Of the tiny models a sixth as many numbers as they have parameters.
    numbers = {} if name == "nano" else {"numbers": 25_000}
    old, new = block() if name == "nano" else (places()[:24], places()[24:48])
    moments = estimate_second_moments(model, old + new)
    found = fact_gradients(model, old, new, second_moments=moments, **numbers)
    exact = exact_gradients(model, old, new, second_moments=moments)
    for optimizer in ("sgd", "adamw"):
        table = agreement(found[optimizer], exact[optimizer]).set_index("component")
        print(f"{name}, {optimizer}\n{table.round(3)}")
        assert (table.loc["all"] >= CLAIM).all()


def test_batches_and_order_change_nothing(nano):
    old, new = block(8)
    one, other = (
        fact_gradients(nano, old, new, numbers=20_000, batch_size=size)["sgd"]
        for size in (3, 64)
    )
    most = np.abs(one.product()).max()
    np.testing.assert_allclose(one.product(), other.product(), atol=1e-4 * most)


def stepped(model, fact, optimizer, learning_rate, moments):
    """The old facts' losses are compared before and after: in float64, so that small
    steps can be told from rounding."""
    twin = model.copy()
    network = twin.network.double()
    ids, answer = tensors(twin, fact)
    answer_losses(network, ids, answer).sum().backward()
    if optimizer == "sgd":
        step = torch.optim.SGD(network.parameters(), lr=learning_rate)
    else:
        # v as given: this step's own gradient must not change it.
        betas = (0.0, 1 - 1e-12)
        step = torch.optim.AdamW(
            network.parameters(), lr=learning_rate, betas=betas, weight_decay=0.0
        )
        for name, p in network.named_parameters():
            step.state[p] = {
                "step": torch.tensor(1e15),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": moments[name].double(),
            }
    step.step()
    return twin


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", ["nano", "llama"])
def test_predicts_what_one_step_does(name, optimizer, nano):
    model = nano if name == "nano" else tiny_model(name)
    old, new = (
        part[:16] for part in (block() if name == "nano" else (places(), places()[30:]))
    )
    moments = {
        key: value + 1e-6
        for key, value in estimate_second_moments(model, old + new).items()
    }
    exact = exact_gradients(model, old, new, second_moments=moments)[optimizer]
    found = fact_gradients(model, old, new, second_moments=moments)[optimizer]
    start = model.copy()
    start.network.double()
    for j in (0, 5):
        most = np.abs(exact.product()[:, j]).max()
        rate = 1e-4 / most
        after = stepped(model, new[j : j + 1], optimizer, rate, moments)
        with torch.no_grad():
            before, later = (
                answer_losses(m.network, *tensors(m, old)).numpy() for m in (start, after)
            )
        measured = later - before
        for kernel, slope, correlation in ((exact, 0.02, 0.999), (found, 0.25, 0.95)):
            predicted = kernel.rise(rate)[:, j]
            found_slope = float(predicted @ measured / (predicted @ predicted))
            found_r = float(np.corrcoef(predicted, measured)[0, 1])
            print(f"{name}, {optimizer}, new {j}: slope {found_slope:.3f}, r {found_r:.4f}")
            assert found_slope == pytest.approx(1, abs=slope)
            assert found_r > correlation


def test_lies_about_known_subjects_are_blamed(nano):
    """New facts that contradict old ones, among new facts about other subjects."""
    with torch.no_grad():
        losses = answer_losses(nano.network, *tensors(nano, cities()[:80])).numpy()
    known = [
        fact for fact, loss in zip(cities(), losses, strict=False) if 0.02 < loss < 0.7
    ]
    old = FactSet(tuple(known), "known")
    lies = FactSet(
        tuple(
            replace(
                fact,
                id=f"lie {fact.id}",
                answer="Brazil" if fact.answer == "China" else "China",
                aliases=(),
            )
            for fact in known[:4]
        ),
        "lies",
    )
    kernel = fact_gradients(nano, old, lies + cities()[2400:2420])["sgd"]
    opposed = -kernel.cosine()
    assert opposed[:, :4].argmax(0).tolist() == [0, 1, 2, 3]
    assert opposed[:4].argmax(1).tolist() == [0, 1, 2, 3]
    told = fact_gradients(nano, old[:4], lies + cities()[2400:2420])["sgd"]
    assert set(blame(told)["id"][:3]) <= set(lies.ids)


def test_settings_are_refused(nano):
    old, new = block(2)
    with pytest.raises(InputError, match="numbers must be above 0, got 0"):
        fact_gradients(nano, old, new, numbers=0)
    with pytest.raises(InputError, match="for 128 facts at most, got 130"):
        exact_gradients(nano, cities()[:100], cities()[100:130])
    with pytest.raises(InputError, match="no facts"):
        fact_gradients(nano, old[:0], new)
