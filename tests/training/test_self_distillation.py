"""The distillation term against its closed form and against all logits at once."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tiny_models import tiny_model
from torch import nn

from interfere.errors import InputError
from interfere.training import distillation_loss
from interfere.training.mitigation import Step
from interfere.training.self_distillation import SelfDistillation


def identity_step(positions: int) -> Step:
    """Hidden states that are logits already."""
    return Step(nn.Identity(), nn.Identity(), positions)


@pytest.mark.parametrize(("strength", "temperature"), [(1.0, 0.5), (0.3, 1.0), (2.0, 4.0)])
def test_gradient_with_cross_entropy_is_the_papers(strength, temperature):
    torch.manual_seed(0)
    logits = torch.randn(1, 7, dtype=torch.float64, requires_grad=True)
    teacher, label = torch.randn(1, 7, dtype=torch.float64), torch.tensor([3])
    term = SelfDistillation(strength=strength, temperature=temperature)
    (
        F.cross_entropy(logits, label) + term.loss(logits, teacher, identity_step(1))
    ).backward()
    q1 = logits.detach().softmax(-1)
    q, p = ((z / temperature).softmax(-1) for z in (logits.detach(), teacher))
    expected = q1 - F.one_hot(label, 7) + strength * temperature * (q - p)
    assert torch.allclose(logits.grad, expected, atol=1e-6)  # float32 inside


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("kept", [5, 23])
def test_chunked_is_the_plain_formula(monkeypatch, kept, linear):
    """With and without a graph for the head's part."""
    monkeypatch.setattr(distillation_loss, "CHUNK_BYTES", 10 * 4 * 11)
    monkeypatch.setattr(distillation_loss, "LEAST", 1)
    torch.manual_seed(0)
    weight, other = torch.randn(2, 11, 4)
    weight.requires_grad_()
    states, teacher = torch.randn(2, kept, 4)
    states.requires_grad_()
    step = Step(
        lambda z: z @ weight.T,
        lambda z: z @ other.T,
        kept,
        parameters=(weight,),
        head_weight=weight if linear else None,
    )
    q = (states @ weight.T / 0.5).softmax(-1)
    p = (teacher @ other.T / 0.5).softmax(-1)
    plain = 0.25 * (p * (p / q).log()).sum() / kept
    found = SelfDistillation().loss(states, teacher, step)
    assert found.item() == pytest.approx(plain.item(), rel=1e-5)
    sides = (states, weight)
    expected = torch.autograd.grad(plain, sides)
    first = torch.autograd.grad(found, sides, retain_graph=True)
    for times, found_ in ((1, first), (3, torch.autograd.grad(3 * found, sides))):
        for ours, theirs in zip(found_, expected, strict=True):
            assert torch.allclose(ours, times * theirs, atol=1e-6)
    # going through the graph again has not changed what it gave before
    for ours, theirs in zip(first, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_never_more_logits_than_a_chunk(monkeypatch):
    monkeypatch.setattr(distillation_loss, "CHUNK_BYTES", 10 * 4 * 4)
    monkeypatch.setattr(distillation_loss, "LEAST", 1)
    seen = []

    def head(states):
        seen.append(len(states))
        return states

    states = torch.randn(23, 4, requires_grad=True)
    SelfDistillation().loss(states, torch.randn(23, 4), Step(head, head, 23)).backward()
    assert max(seen) == 10


def test_equal_sides_cost_nothing():
    logits = torch.randn(6, 9, requires_grad=True)
    loss = SelfDistillation().loss(logits, logits.detach(), identity_step(6))
    loss.backward()
    assert abs(loss.item()) < 1e-6
    assert logits.grad.abs().max() < 1e-6


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0}, "temperature must be above 0, got 0"),
        ({"temperature": float("nan")}, "temperature must be above 0, got nan"),
        ({"strength": -1}, "strength must be 0 or more, got -1"),
        ({"positions": "prompt"}, "'all' or 'answer', got 'prompt'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SelfDistillation(**settings)


def test_teacher_of_another_vocabulary_is_refused(model, begin):
    teacher = tiny_model("llama", vocab_size=600)
    with pytest.raises(InputError, match=r"600 logits, the student 500.* one vocabulary"):
        SelfDistillation(teacher).frozen_teacher(begin(model))


def test_teacher_that_would_be_trained_is_refused(model, begin):
    with pytest.raises(InputError, match=r"shares weights .* give teacher.copy\(\)"):
        SelfDistillation(model).frozen_teacher(begin(model))


def test_without_a_teacher_the_start_is_copied(model, begin):
    teacher = SelfDistillation().frozen_teacher(begin(model))
    pairs = zip(teacher.network.parameters(), model.network.parameters(), strict=True)
    assert all(a.equal(b) and a.data_ptr() != b.data_ptr() for a, b in pairs)
