"""Divergences and their gradients against autograd, closed forms, and their algebra."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interfere.training.divergences import divergence

DIRECTIONS = ["forward", "reverse", "jensen-shannon"]


def logits(seed, n=5, v=9):
    return torch.randn(n, v, dtype=torch.float64, generator=torch.manual_seed(seed))


def plain(student, teacher, direction, temperature):
    p, q = ((z / temperature).softmax(-1) for z in (teacher, student))
    m = (p + q) / 2

    def kl(a, b):
        return (a * (a / b).log()).sum(-1)

    return {
        "forward": kl(p, q),
        "reverse": kl(q, p),
        "jensen-shannon": kl(p, m) / 2 + kl(q, m) / 2,
    }[direction]


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(seed=st.integers(0, 10**6), temperature=st.floats(0.2, 5))
def test_value_and_gradient_are_autograds(direction, seed, temperature):
    student, teacher = logits(seed).requires_grad_(), logits(seed + 1)
    expected = plain(student, teacher, direction, temperature)
    expected.sum().backward()
    found = divergence(student, teacher, direction=direction, temperature=temperature)
    assert torch.allclose(found.value, expected, atol=1e-7)
    assert torch.allclose(found.gradient, student.grad, atol=1e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_zero_on_equal_sides_and_blind_to_a_constant(direction):
    student, teacher = logits(0), logits(1)
    options = {"direction": direction, "temperature": 0.5}
    assert divergence(student, student + 3, **options).value.abs().max() < 1e-12
    moved = divergence(student + 7, teacher - 2, **options)
    assert torch.allclose(moved.value, divergence(student, teacher, **options).value)
    assert moved.gradient.sum(-1).abs().max() < 1e-12


def test_jensen_shannon_is_symmetric_and_at_most_log_2():
    far = 1e3 * logits(2)
    options = {"direction": "jensen-shannon", "temperature": 1.0}
    one, other = divergence(far, -far, **options), divergence(-far, far, **options)
    assert torch.allclose(one.value, other.value)
    assert one.value.tolist() == pytest.approx([math.log(2)] * 5)


def test_forward_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3), 0.0]])
    found = divergence(student, teacher, direction="forward", temperature=1.0)
    assert found.value.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert found.gradient.tolist()[0] == pytest.approx([-0.25, 0.25])
