"""What is kept is what the teacher gives."""

import pytest
import torch
from tiny_models import tiny_model

from interfere.errors import InputError
from interfere.training import cached_teacher
from interfere.training.cached_teacher import CachedTeacher
from interfere.training.cost import Cost
from interfere.training.rows import FactRows, collate
from interfere.training.self_distillation import SelfDistillation
from interfere.training.teacher import CountedTeacher, Frozen
from interfere.training.train import train


def unpadded(batch):
    return batch["attention_mask"].bool()


def batch_of(rows, numbers):
    batch = collate([rows[i] for i in numbers])
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("in_memory", [2**30, 5_000, 0])
def test_kept_states_are_the_teachers(model, split, monkeypatch, in_memory):
    monkeypatch.setattr(cached_teacher, "IN_MEMORY", in_memory)
    rows, cost = FactRows(split.training, model.tokenizer), Cost()
    live = Frozen(model.copy().network)
    cached = CachedTeacher(CountedTeacher(live, cost))
    cached.fill(rows, collate, unpadded, torch.device("cpu"))
    assert cost.teacher_rows == len(rows)
    for numbers in ([3, 1, 9], [0], [17, 2, 5, 8, 11]):
        batch = batch_of(rows, numbers)
        found = cached.states(batch, unpadded(batch))
        assert torch.allclose(found, live.states(batch, unpadded(batch)), atol=1e-5)
    assert cost.teacher_rows == len(rows)


def test_a_new_row_is_asked_once(model, split):
    rows, cost = FactRows(split.training, model.tokenizer), Cost()
    live = Frozen(model.copy().network)
    cached = CachedTeacher(CountedTeacher(live, cost))
    cached.fill([rows[i] for i in range(4)], collate, unpadded, torch.device("cpu"))
    batch = batch_of(rows, [2, 10, 0, 11])
    for _ in range(2):
        found = cached.states(batch, unpadded(batch))
        assert torch.allclose(found, live.states(batch, unpadded(batch)), atol=1e-5)
    assert cost.teacher_rows == 6


def test_other_positions_are_other_states(model, split):
    rows = FactRows(split.training, model.tokenizer)
    live = Frozen(model.copy().network)
    cached = CachedTeacher(live)
    batch = batch_of(rows, [0, 1])
    kept = unpadded(batch)
    cached.states(batch, kept)
    fewer = kept.clone()
    fewer[:, 2:] = False
    assert torch.allclose(cached.states(batch, fewer), live.states(batch, fewer), atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_where_a_row_lies_is_part_of_what_is_kept(architecture, split):
    """Padding on the left moves positions where they are absolute; given ones always do."""
    model = tiny_model(architecture)
    rows = FactRows(split.training, model.tokenizer)
    live = Frozen(model.copy().network)
    cached = CachedTeacher(live)
    cached.fill(rows, collate, unpadded, torch.device("cpu"))
    plain = batch_of(rows, [3])
    pads = torch.zeros(1, 4, dtype=torch.long)
    left = {
        "input_ids": torch.cat([pads, plain["input_ids"]], 1),
        "attention_mask": torch.cat([pads, plain["attention_mask"]], 1),
    }
    hole = plain | {"attention_mask": plain["attention_mask"].clone()}
    hole["attention_mask"][0, 2] = 0
    short = {name: values[:, :-1] for name, values in plain.items()}
    short["input_ids"] = torch.cat(
        [short["input_ids"][:, :2], plain["input_ids"][:, 3:]], 1
    )
    moved = plain | {"position_ids": torch.arange(plain["input_ids"].shape[1])[None] + 7}
    for batch in (left, moved, hole, short, plain):
        found = cached.states(batch, unpadded(batch))
        assert torch.allclose(found, live.states(batch, unpadded(batch)), atol=1e-5)


def test_too_much_for_the_disk_is_not_kept(model, split, monkeypatch):
    monkeypatch.setattr(cached_teacher, "ON_DISK", 1_000)
    rows, cost = FactRows(split.training, model.tokenizer), Cost()
    cached = CachedTeacher(CountedTeacher(Frozen(model.copy().network), cost))
    cached.fill(rows, collate, unpadded, torch.device("cpu"))
    assert cached.bytes == 0
    batch = batch_of(rows, [0, 1])
    live = Frozen(model.network)
    asked = cost.teacher_rows
    for _ in range(2):
        found = cached.states(batch, unpadded(batch))
        assert torch.allclose(found, live.states(batch, unpadded(batch)), atol=1e-5)
    assert cost.teacher_rows == asked + 4
    assert cached.bytes == 0


def test_a_full_disk_is_an_error(model, split, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cached_teacher, "IN_MEMORY", 0)
    monkeypatch.setattr(cached_teacher.tempfile, "TemporaryFile", full)
    rows = FactRows(split.training, model.tokenizer)
    cached = CachedTeacher(Frozen(model.copy().network))
    with pytest.raises(InputError, match=r"No space left.*cached=False"):
        cached.fill(rows, collate, unpadded, torch.device("cpu"))


@pytest.mark.parametrize("positions", ["all", "answer"])
def test_training_with_a_cached_teacher_is_that_with_a_live_one(model, split, positions):
    teacher = tiny_model("llama", seed=1)
    kept, live = (
        train(
            model,
            split,
            mitigation=SelfDistillation(teacher, positions=positions, cached=cached),
            epochs=3,
            batch_size=6,
        )
        for cached in (True, False)
    )
    pairs = zip(kept.network.parameters(), live.network.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)
