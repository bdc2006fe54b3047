"""What AdamW divides by, against AdamW itself."""

import pytest
import torch

from interfere.errors import InputError
from interfere.training.rows import FactRows, SeededOrder, collate
from interfere.training.second_moments import (
    adamw_scale,
    estimate_second_moments,
    second_moments,
)


def test_from_an_optimizer_bias_is_taken_out(model):
    network = model.copy().network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, betas=(0.9, 0.99))
    squares = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for name, p in network.named_parameters():
            p.grad = torch.randn(p.shape, generator=generator)
            squares[name] = 0.99 * squares[name] + 0.01 * p.grad.square()
        optimizer.step()
    found = second_moments(optimizer, network)
    for name, value in squares.items():
        torch.testing.assert_close(found[name], value / (1 - 0.99**3))


def test_an_optimizer_without_them_is_refused(model):
    network = model.copy().network
    with pytest.raises(InputError, match="SGD holds no second moments"):
        second_moments(torch.optim.SGD(network.parameters(), lr=1.0), network)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_estimate_is_the_mean_square_of_the_training_s_batches(model, split, clip):
    facts = split.training
    found = estimate_second_moments(model, facts, batch_size=7, seed=4, clip=clip)
    rows = FactRows(facts, model.tokenizer)
    order = list(SeededOrder(rows, 4))
    network = model.copy().network
    expected = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    batches = [order[i : i + 7] for i in range(0, len(order), 7)]
    for places in batches:
        network.zero_grad()
        network(**collate([rows[i] for i in places])).loss.backward()
        if clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
            assert norm > clip
        for name, p in network.named_parameters():
            expected[name] += p.grad.square() / len(batches)
    for name, value in expected.items():
        most = value.max().item()
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5 * most)
    assert all(p.grad is None for p in model.network.parameters())


def test_scale_is_half_of_adamw_s_division(model):
    network = model.network
    moments = {name: torch.full_like(p, 4.0) for name, p in network.named_parameters()}
    moments["model.norm.weight"][0] = 0
    found = adamw_scale(network, moments, epsilon=0.5)
    assert found["model.norm.weight"][0] == 0
    assert found["model.norm.weight"][1].item() == pytest.approx(2.5**-0.5)


def test_moments_that_do_not_fit_are_refused(model):
    moments = {name: torch.ones_like(p) for name, p in model.network.named_parameters()}
    name = "model.norm.weight"
    with pytest.raises(InputError, match=f"no second moment of {name}"):
        adamw_scale(model.network, {n: v for n, v in moments.items() if n != name})
    with pytest.raises(InputError, match=r"shape \(3,\), the parameter \(64,\)"):
        adamw_scale(model.network, moments | {name: torch.ones(3)})
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="negative, NaN or infinite"):
            adamw_scale(model.network, moments | {name: torch.full((64,), bad)})
