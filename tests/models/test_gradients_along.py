"""Products with directions: an example's gradient along itself is its squared norm."""

import numpy as np
import pytest
import torch
from tiny_models import places, tiny_model

from interfere.models.exact_products import exact_squares
from interfere.models.gradients_along import gradient_sum, gradients_along
from interfere.training.rows import IGNORED, FactRows, collate


def tensors(model, facts):
    rows = FactRows(facts, model.tokenizer)
    batch = collate([rows[i] for i in range(len(rows))])
    return batch["input_ids"], batch["labels"] != IGNORED


@pytest.mark.parametrize("name", ["llama", "gpt2", "neox"])
def test_a_gradient_along_itself_is_its_square(name):
    model = tiny_model(name)
    one = tensors(model, places()[:1])
    own = gradient_sum(model.network, *one)
    found = gradients_along(model.network, *one, {"own": own})["own"]
    np.testing.assert_allclose(found, exact_squares(model.network, *one)[0], rtol=1e-4)


def test_is_linear_in_the_direction_and_each_rows_own():
    model = tiny_model("llama")
    network, batch = model.network, tensors(model, places()[:6])
    generator = torch.Generator().manual_seed(0)
    a, b = (
        {
            n: torch.randn(p.shape, generator=generator)
            for n, p in network.named_parameters()
        }
        for _ in range(2)
    )
    both = {n: 2 * a[n] - b[n] for n in a}
    found = gradients_along(network, *batch, {"a": a, "b": b, "both": both})
    np.testing.assert_allclose(found["both"], 2 * found["a"] - found["b"], atol=1e-3)
    alone = gradients_along(network, *tensors(model, places()[2:3]), {"a": a})["a"]
    assert float(found["a"][2]) == pytest.approx(float(alone[0]), rel=1e-3)


def test_a_frozen_parameter_has_no_part_in_the_sum():
    model = tiny_model("gpt2")
    frozen = "transformer.h.0.mlp.c_fc.weight"
    dict(model.network.named_parameters())[frozen].requires_grad_(False)
    found = gradient_sum(model.network, *tensors(model, places()[:2]))
    assert not found[frozen].any()
    assert found["transformer.h.1.mlp.c_fc.weight"].any()
