"""Parked weights are what they were, and only a teacher of our own is parked."""

import pytest
import torch
from tiny_models import tiny_model

from interfere.training.parked import park
from interfere.training.rows import FactRows, collate
from interfere.training.self_distillation import SelfDistillation
from interfere.training.teacher import Frozen
from interfere.training.train import train


def places(network):
    return {name: p.data_ptr() for name, p in network.named_parameters()}


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parked_weights_are_the_same_and_elsewhere_but_for_the_head(architecture, dtype):
    network = tiny_model(architecture).copy().network.to(dtype)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    was, head = places(network), network.get_output_embeddings().weight
    park(network)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name])
        moved = parameter.data_ptr() != was[name]
        assert moved == (parameter is not head and was[name] != head.data_ptr())


def test_a_parked_teacher_answers_as_before(model, split):
    rows = FactRows(split.training, model.tokenizer)
    batch = collate([rows[i] for i in range(4)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    kept = batch["attention_mask"].bool()
    teacher = Frozen(model.copy().network, own=True)
    before = teacher.states(inputs, kept)
    teacher.park()
    assert torch.equal(teacher.states(inputs, kept), before)
    assert torch.equal(teacher.head(before), Frozen(model.network).head(before))


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), RuntimeError("write failed")]
)
@pytest.mark.parametrize(
    "place", ["tempfile.TemporaryDirectory", "torch.save", "torch.load"]
)
def test_what_cannot_be_parked_stays_where_it_is(place, error, monkeypatch):
    def full(*_, **__):
        raise error

    network = tiny_model().copy().network
    was = places(network)
    monkeypatch.setattr(f"interfere.training.parked.{place}", full)
    park(network)
    assert places(network) == was


def test_only_a_copy_of_our_own_is_parked(model, split, monkeypatch):
    found = []
    monkeypatch.setattr("interfere.training.teacher.park", found.append)
    given = tiny_model("llama", seed=1)
    for one in (SelfDistillation(given), SelfDistillation(cached=False)):
        train(model, split, mitigation=one, epochs=1)
    assert not found
    train(model, split, mitigation=SelfDistillation(), epochs=1)
    assert len(found) == 1
    assert found[0] is not model.network
