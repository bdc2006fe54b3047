"""First-order predictions against steps that are really made."""

import pytest
import torch
from tiny_models import places

from interfere.models.answering import ask
from interfere.models.example_gradients import answer_losses
from interfere.models.model import Model
from interfere.training.fact_batches import fact_batches
from interfere.training.predicted_harm import (
    _rows,
    _training_step,
    fact_logprobs,
    fact_risk,
    row_harm,
    row_overlap,
)
from interfere.training.rows import collate


@pytest.fixture
def exact(model):
    """In float64, so that steps can be small; norms still round as float32 does."""
    twin = model.copy()
    twin.network.double()
    return twin


def rise(model, direction, facts, size):
    """Of each fact's loss by a step of -size · direction, over the size."""
    moved = model.copy()
    with torch.no_grad():
        for name, parameter in moved.network.named_parameters():
            parameter -= size * direction[name]
        ((ids, answer),) = fact_batches(model, facts, len(facts))
        losses = [answer_losses(m.network, ids, answer) for m in (model, moved)]
    return (losses[1] - losses[0]) / size


def test_risk_is_what_the_trainings_mean_step_does(exact, begin):
    facts, start = places()[20:44], begin(exact)
    mean, scale = _training_step(exact, start)
    expected = rise(exact, {n: scale[n] * g for n, g in mean.items()}, facts, 1e-6)
    found = fact_risk(exact, facts, start)
    assert torch.allclose(found, expected, rtol=1e-2)


def test_harm_is_what_a_step_on_the_row_does(exact, begin):
    facts, start = places()[20:32], begin(exact)
    _, scale = _training_step(exact, start)
    expected = []
    for ids, answer in _rows(exact, start):
        for i in range(len(ids)):
            value = answer_losses(exact.network, ids[i : i + 1], answer[i : i + 1]).sum()
            named = dict(exact.network.named_parameters())
            gradients = torch.autograd.grad(value, list(named.values()))
            direction = {n: scale[n] * g for n, g in zip(named, gradients, strict=True)}
            expected.append(rise(exact, direction, facts, 1e-9).mean())
    found = row_harm(exact, facts, start)
    assert torch.allclose(found, torch.stack(expected), rtol=1e-2)


@pytest.mark.parametrize("of", [row_harm, row_overlap, fact_risk])
def test_batches_padded_on_the_left_say_the_same(model, begin, split, of):
    def left(rows):
        batch = collate(rows)
        order = batch["attention_mask"].argsort(dim=1, stable=True)
        return {name: values.gather(1, order) for name, values in batch.items()}

    facts = split.others if of is fact_risk else split.known
    right, turned = (of(model, facts, begin(model, collate=c)) for c in (collate, left))
    assert torch.allclose(turned, right, rtol=1e-4, atol=1e-6)


def test_overlap_is_a_share_and_whole_for_the_old_facts_own_rows(model, begin, split):
    start = begin(model)
    shares = row_overlap(model, split.known, start)
    assert ((shares >= 0) & (shares <= 1 + 1e-9)).all()
    # ten old facts span all that they are made of, and the first ten rows are theirs
    assert torch.allclose(shares[:10], torch.ones(10).double(), atol=1e-6)
    assert (shares[10:] < 0.999).any()


def test_logprobs_are_the_facts_own(model):
    facts = places()[:5]
    expected = ask(
        Model("x", model.network, model.tokenizer), facts, sampling=False
    ).logprob
    assert fact_logprobs(model, facts).numpy() == pytest.approx(expected)
