"""What is left of a gradient, and the span against the facts' own gradients."""

import pytest
import torch
from tiny_models import places

from interfere.errors import InputError
from interfere.models.example_gradients import answer_losses
from interfere.training.fact_batches import fact_batches
from interfere.training.gradient_projection import (
    GradientProjection,
    gradient_span,
    mean_direction,
)
from interfere.training.train import train


def each_gradient(model, facts):
    rows = []
    for ids, answer in fact_batches(model, facts, 1):
        loss = answer_losses(model.network, ids, answer).sum()
        found = torch.autograd.grad(loss, list(model.network.parameters()))
        rows.append(torch.cat([g.flatten() for g in found]))
    return torch.stack(rows)


def test_span_is_nearly_the_top_of_the_facts_gradients(model):
    facts = places()[:12]
    whole = each_gradient(model, facts)
    span = gradient_span(model, facts, 4)
    assert torch.allclose(span @ span.T, torch.eye(4), atol=1e-4)
    values = torch.linalg.svdvals(whole)
    inside = (whole @ span.T).square().sum()
    assert inside > 0.98 * values[:4].square().sum()
    # each direction is a sum of the facts' gradients
    basis = torch.linalg.qr(whole.T).Q
    assert torch.allclose((span @ basis).square().sum(1), torch.ones(4), atol=1e-3)


def test_what_is_left_is_orthogonal_to_the_span(model, split, begin):
    trained = model.copy()
    change = GradientProjection(rank=3, count=4).gradient_change(begin(trained))
    for parameter in trained.network.parameters():
        parameter.grad = torch.randn_like(parameter)
    before = torch.cat([p.grad.flatten() for p in trained.network.parameters()])
    change(trained.network, 0)
    after = torch.cat([p.grad.flatten() for p in trained.network.parameters()])
    span = gradient_span(model, split.others, 3)
    assert (span @ after).abs().max() < 1e-3 * before.norm()
    assert torch.allclose(after, before - span.T @ (span @ before), atol=1e-4)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_mean_is_taken_out_only_where_it_would_harm(model, split, begin, sign):
    trained = model.copy()
    change = GradientProjection(rank=0).gradient_change(begin(trained))
    mean = mean_direction(model, split.others)[0]
    place = 0
    for parameter in trained.network.parameters():
        part = sign * mean[place : place + parameter.numel()]
        parameter.grad = part.view_as(parameter).clone()
        place += parameter.numel()
    change(trained.network, 0)
    left = torch.cat([p.grad.flatten() for p in trained.network.parameters()]).norm()
    # a step against -mean raises the old facts' loss; one against mean lowers it
    assert left.item() == pytest.approx(1.0 if sign > 0 else 0.0, abs=1e-4)


def test_it_changes_training_and_refreshes(model, split):
    def digest(**settings):
        mitigation = GradientProjection(rank=2, count=4, **settings)
        return train(model, split, mitigation=mitigation, steps=6, batch_size=6).digest

    assert digest() != train(model, split, steps=6, batch_size=6).digest
    assert digest(refresh=2) != digest()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": -1}, "rank must be 0 or more"),
        ({"refresh": -1}, "refresh must be 0 or more"),
        ({"count": 0}, "count must be 1 or more"),
        ({"rank": 9, "count": 8}, "a span of rank 9 needs as many facts, not 8"),
        ({"rank": 9}, "a span of rank 9 needs as many Known facts, there are 4"),
    ],
)
def test_settings_out_of_range_are_refused(model, begin, settings, message):
    with pytest.raises(InputError, match=message):
        GradientProjection(**settings).gradient_change(begin(model))
