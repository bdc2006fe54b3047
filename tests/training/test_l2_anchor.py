"""The penalty by hand and in training; its matched strength against the term's own pull."""

import pytest
import torch
from tiny_models import tiny_model

from interfere.errors import InputError
from interfere.training.freezing import Freezing
from interfere.training.gradient_norms import distance, distillation_pull
from interfere.training.l2_anchor import L2Anchor
from interfere.training.self_distillation import SelfDistillation
from interfere.training.train import train


def test_value_and_gradient_by_hand(model, begin):
    trained = model.copy()
    penalty = L2Anchor(strength=0.5).penalty(begin(trained))
    assert penalty(trained.network).item() == 0
    parameters = list(trained.network.parameters())
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.1)
    count = sum(p.numel() for p in parameters)
    found = penalty(trained.network)
    assert found.item() == pytest.approx(0.25 * 0.01 * count, rel=1e-4)
    gradients = torch.autograd.grad(found, parameters)
    assert all(torch.allclose(g, torch.tensor(0.05), atol=1e-6) for g in gradients)


def test_base_is_an_anchor_too(model, begin):
    other = tiny_model("llama", seed=1)
    penalty = L2Anchor(strength=1, anchor="base").penalty(begin(model.copy(), base=other))
    pairs = zip(model.network.parameters(), other.network.parameters(), strict=True)
    expected = sum((a - b).square().sum().item() for a, b in pairs) / 2
    assert penalty(model.network).item() == pytest.approx(expected, rel=1e-4)
    assert penalty(other.network).item() == 0


def test_holds_the_model_near_and_accumulates_alike(model, split):
    def moved(**settings):
        tuned = train(model, split, epochs=5, batch_size=8, learning_rate=1e-3, **settings)
        pairs = zip(tuned.network.parameters(), model.network.parameters(), strict=True)
        return sum((a - b).square().sum().item() for a, b in pairs)

    near = moved(mitigation=L2Anchor(strength=1.0))
    assert near < 0.5 * moved()
    parts = moved(mitigation=L2Anchor(strength=1.0), accumulation=4)
    assert parts == pytest.approx(near, rel=1e-3)


def test_matched_strength_pulls_as_hard_as_the_term(model, begin):
    teacher = SelfDistillation(tiny_model("llama", seed=1))
    start = begin(model)
    start.arguments.learning_rate = 1e-3
    penalty = L2Anchor(matched_to=teacher, matching_steps=6).penalty(start)
    pull, network = distillation_pull(start, teacher, 6)
    assert penalty.strength * distance(network, penalty.anchors) == pytest.approx(pull)
    assert start.cost.rows == 0
    assert start.cost.measured_rows > 0


def test_the_terms_pull_is_its_gradients_norm(model, begin):
    """At the first step, where the copy is still the start."""
    teacher = tiny_model("llama", seed=1)
    start = begin(model)
    start.arguments.per_device_train_batch_size = 18
    pull, _ = distillation_pull(start, SelfDistillation(teacher), 1)
    network = model.copy().network
    batch = start.collate([start.rows[i] for i in range(18)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        p = (teacher.network(**inputs).logits / 0.5).softmax(-1)
    q = (network(**inputs).logits / 0.5).softmax(-1)
    (0.25 * (p * (p / q).log()).sum(-1)[mask].mean()).backward()
    squares = [p.grad.square().sum() for p in network.parameters() if p.grad is not None]
    assert pull == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-3)


def test_what_it_is_matched_to_may_be_settings_and_on_other_rows(model, begin):
    given = {"temperature": 1.0, "rows": "background", "strength": 2.0}
    starts = [begin(model), begin(model)]
    one, other = (
        L2Anchor(matched_to=which, matching_steps=3).penalty(start).strength
        for which, start in zip((given, SelfDistillation(**given)), starts, strict=True)
    )
    assert one == other > 0
    assert starts[0].cost.rows == starts[0].cost.added_rows == 0


def test_matched_strength_is_blind_to_accumulation(model, begin):
    pulls = []
    for batch, parts in ((6, 1), (3, 2)):
        start = begin(model)
        start.arguments.per_device_train_batch_size = batch
        start.arguments.gradient_accumulation_steps = parts
        pulls.append(distillation_pull(start, SelfDistillation(), 3)[0])
    assert pulls[0] > 0
    assert pulls[1] == pytest.approx(pulls[0], rel=1e-3)


def test_the_pull_is_measured_on_the_weights_that_are_trained(model, begin):
    """A random control's masks are hooks, which a deep copy leaves behind."""
    trained = model.copy()
    control = Freezing(trains="attention", random_control=True)
    control.change(trained.network)
    start = begin(trained)
    start.arguments.learning_rate = 1e-3
    _, network = distillation_pull(start, SelfDistillation(tiny_model("llama", seed=1)), 3)
    moved = sum(
        int((a != b).sum())
        for a, b in zip(network.parameters(), model.network.parameters(), strict=True)
    )
    assert 0 < moved <= control.parameters(model.network)


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": -1.0}, "strength must be 0 or more, got -1"),
        ({"anchor": "end"}, "anchor must be a loaded model, 'start' or 'base', got 'end'"),
        ({"matching_steps": 0}, "matching_steps must be 1 or more, got 0"),
        ({"matched_to": {"temperature": 0}}, "temperature must be above 0"),
        ({"matched_to": {"heat": 1}}, "matched_to, SelfDistillation's settings: .*heat"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        L2Anchor(**settings)


def test_an_anchor_that_is_missing_or_another_shape_is_refused(model, begin):
    with pytest.raises(InputError, match="give train base="):
        L2Anchor(strength=1, anchor="base").penalty(begin(model))
    with pytest.raises(InputError, match=r"the anchor has no .* of shape"):
        L2Anchor(strength=1, anchor=tiny_model("gpt2")).penalty(begin(model))
