"""Sums of gradients against every gradient written out, and against the kernel's sums."""

import numpy as np
import pytest
import torch
from tiny_models import places, tiny_model

from interfere.errors import InputError
from interfere.interventions.fact_gradients import exact_gradients
from interfere.interventions.gradient_harm import gradient_harm
from interfere.models.exact_products import exact_products, exact_squares
from interfere.training.rows import IGNORED, FactRows, collate
from interfere.training.second_moments import estimate_second_moments

OLD, NEW = places()[:11], places()[20:33]


def written_out(model, facts, scale):
    """Every fact's gradient as one row, in float64 and one backward pass a fact."""
    twin = model.copy().network.double()
    rows = FactRows(facts, model.tokenizer)
    found = []
    for i in range(len(rows)):
        batch = collate([rows[i]])
        twin.zero_grad()
        logits = twin(input_ids=batch["input_ids"]).logits[0, :-1]
        labels = batch["labels"][0, 1:]
        torch.nn.functional.cross_entropy(
            logits, labels, ignore_index=IGNORED, reduction="sum"
        ).backward()
        parts = [scale[n].double() * p.grad for n, p in twin.named_parameters()]
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found).numpy()


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_is_the_sum_of_gradients_written_out(name, optimizer):
    model = tiny_model(name)
    moments = estimate_second_moments(model, OLD + NEW)
    scale = {n: torch.ones_like(v) for n, v in moments.items()}
    if optimizer == "adamw":
        scale = {
            n: torch.where(v > 0, (v.double().sqrt() + 1e-8).rsqrt(), 0.0)
            for n, v in moments.items()
        }
    old, new = (written_out(model, facts, scale) for facts in (OLD, NEW))
    found = gradient_harm(model, OLD, NEW, second_moments=moments, batch_size=4)[optimizer]
    assert found.optimizer == optimizer
    for got, expected in (
        (found.risk, -old @ new.sum(0)),
        (found.blame, -new @ old.sum(0)),
    ):
        np.testing.assert_allclose(got, expected, atol=2e-3 * np.abs(expected).max())
    norms = np.linalg.norm(old, axis=1) * np.linalg.norm(new.sum(0))
    np.testing.assert_allclose(found.cosine, old @ new.sum(0) / norms, atol=2e-3)
    assert np.ptp(found.cosine) > 0.02


def test_is_the_sum_of_an_exact_kernel(nano):
    moments = estimate_second_moments(nano, OLD + NEW)
    kernels = exact_gradients(nano, OLD, NEW, second_moments=moments)
    found = gradient_harm(nano, OLD, NEW, second_moments=moments)
    for name, kernel in kernels.items():
        product = kernel.product()
        atol = 1e-4 * np.abs(product).sum(1).max()
        np.testing.assert_allclose(found[name].risk, -product.sum(1), atol=atol)
        np.testing.assert_allclose(found[name].blame, -product.sum(0), atol=atol)
        # Both count every pair once.
        assert found[name].risk.sum() == pytest.approx(found[name].blame.sum(), rel=1e-3)


def test_batches_change_nothing_and_without_moments_there_is_no_adamw():
    model = tiny_model("llama")
    whole, parts = (gradient_harm(model, OLD, NEW, batch_size=n) for n in (32, 3))
    assert list(whole) == ["sgd"]
    most = np.abs(whole["sgd"].risk).max()
    np.testing.assert_allclose(whole["sgd"].risk, parts["sgd"].risk, atol=1e-4 * most)
    np.testing.assert_allclose(whole["sgd"].cosine, parts["sgd"].cosine, atol=1e-4)


def test_it_is_what_a_step_does():
    """Planted: one small step of SGD on all new facts, old losses before and after."""
    model = tiny_model("llama")
    found = gradient_harm(model, OLD, NEW)["sgd"]
    twin = model.copy()
    twin.network.double()
    rate = 2e-3 / np.abs(found.risk).max()

    def losses(facts):
        rows = FactRows(facts, model.tokenizer)
        batch = collate([rows[i] for i in range(len(rows))])
        logits = twin.network(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits[:, :-1]
        return torch.nn.functional.cross_entropy(
            logits.transpose(1, 2),
            batch["labels"][:, 1:],
            ignore_index=IGNORED,
            reduction="none",
        ).sum(1)

    before = losses(OLD).detach()
    losses(NEW).sum().backward()
    with torch.no_grad():
        for parameter in twin.network.parameters():
            parameter -= rate * parameter.grad
    change = (losses(OLD).detach() - before).numpy()
    np.testing.assert_allclose(change, rate * found.risk, rtol=0.03, atol=2e-5)


def test_squares_are_the_diagonal():
    model = tiny_model("gpt2")
    rows = FactRows(OLD, model.tokenizer)
    batch = collate([rows[i] for i in range(len(rows))])
    tensors = batch["input_ids"], batch["labels"] != IGNORED
    products = exact_products(model.network, *tensors)
    expected = sum(values.diagonal() for values in products.values())
    doubled = {n: torch.full_like(p, 2.0) for n, p in model.network.named_parameters()}
    found = exact_squares(model.network, *tensors, scales=[None, doubled])
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[1], 4 * expected, rtol=1e-5)


def test_an_untrained_table_leaves_no_cosine(nano):
    """A v̂ of 0 everywhere: AdamW moves nothing."""
    nothing = {n: torch.zeros_like(p) for n, p in nano.network.named_parameters()}
    found = gradient_harm(nano, OLD[:2], NEW[:2], second_moments=nothing)["adamw"]
    assert found.risk.tolist() == [0, 0]
    assert np.isnan(found.cosine).all()


def test_bad_input(nano):
    with pytest.raises(InputError, match="no facts"):
        gradient_harm(nano, OLD[:0], NEW)
    with pytest.raises(InputError, match="batch_size must be above 0, got 0"):
        gradient_harm(nano, OLD, NEW, batch_size=0)
    half = nano.copy()
    half.network.bfloat16()
    with pytest.raises(InputError, match="too coarse"):
        gradient_harm(half, OLD, NEW)
