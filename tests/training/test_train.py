"""The door: what `train` gives back, leaves alone and refuses."""

import random

import numpy as np
import pytest
import torch
from tiny_models import places
from transformers import AutoModelForCausalLM, TrainerCallback

from interfere.errors import InputError
from interfere.knowledge.splits import Split
from interfere.models.model import Model
from interfere.training.freezing import Freezing
from interfere.training.known_patch import KnownPatch
from interfere.training.lora import LoRA
from interfere.training.names import MITIGATIONS
from interfere.training.replay import Replay
from interfere.training.self_distillation import SelfDistillation
from interfere.training.targeted_distillation import TargetedDistillation
from interfere.training.train import format_checkpoint, step_count, train


class Curve(TrainerCallback):
    """Learning rate and epoch after each step."""

    def __init__(self):
        self.rates, self.epochs = [], []

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_step_end(self, args, state, control, **kwargs):
        self.epochs.append(state.epoch)


def test_given_model_is_untouched_and_the_new_one_ready(model, split):
    before = model.digest
    caching = model.network.config.use_cache
    tuned = train(model, split, steps=2, batch_size=8)
    assert model.digest == before != tuned.digest
    assert not tuned.network.training
    assert tuned.network.config.use_cache == caching
    assert all(p.requires_grad and p.grad is None for p in tuned.network.parameters())
    assert tuned.name == "tiny-llama trained on 10 Known and 8 Unknown facts, seed 0"


SETTINGS = {
    "freezing": {"bottom": 1},
    "gradient-projection": {"rank": 2, "count": 4},
    "targeted-distillation": {"spend": "fallen", "refresh": 2},
}
"""Where the defaults need more facts, or say nothing."""


@pytest.mark.parametrize("mitigation", [None, *MITIGATIONS])
def test_same_seed_same_bits_another_seed_others(model, split, mitigation):
    def digest(seed):
        settings = SETTINGS.get(mitigation, {})
        arm = MITIGATIONS[mitigation](**settings) if mitigation else None
        return train(model, split, mitigation=arm, epochs=2, batch_size=8, seed=seed).digest

    assert digest(0) == digest(0) != digest(1)


def test_facts_are_learnt(model, split):
    tuned = train(model, split, epochs=40, learning_rate=3e-3, batch_size=6)
    from interfere.models.answering import ask

    assert ask(tuned, split.training, sampling=False).right.mean() > 0.9
    assert ask(model, split.training, sampling=False).right.mean() < 0.2


def test_distillation_from_the_start_holds_the_model_back(model, split):
    def moved(mitigation):
        tuned = train(model, split, mitigation=mitigation, epochs=10, learning_rate=1e-3)
        pairs = zip(tuned.network.parameters(), model.network.parameters(), strict=True)
        return sum((a - b).square().sum().item() for a, b in pairs)

    assert moved(SelfDistillation(strength=100.0)) < 0.9 * moved(None)


def test_a_distant_teacher_is_neither_trained_nor_changed(model, split):
    teacher = model.copy()
    train(model, split, mitigation=SelfDistillation(teacher), steps=2)
    assert teacher.digest == model.digest


def test_control_takes_as_many_steps_as_its_arm(model, split):
    arm, control = Curve(), Curve()
    train(model, split, epochs=3, batch_size=8, callbacks=[arm])
    steps = step_count(len(split.training), epochs=3, batch_size=8)
    train(model, split.known_only, steps=steps, batch_size=8, callbacks=[control])
    assert len(arm.epochs) == len(control.epochs) == steps == 9
    assert control.epochs[-1] == 4.5  # two steps an epoch


def test_rate_rises_over_a_twentieth_and_stays(model, split):
    curve = Curve()
    train(model, split, steps=40, batch_size=4, learning_rate=1e-3, callbacks=[curve])
    assert curve.rates[:3] == pytest.approx([0, 5e-4, 1e-3])
    assert set(curve.rates[2:]) == {1e-3}


def test_format_checkpoint_sees_known_facts_only(model, split):
    formatted = format_checkpoint(model, split, epochs=1)
    assert formatted.digest == train(model, split.known_only, epochs=1).digest
    assert formatted.name == "tiny-llama trained on 10 Known facts, seed 0"


@pytest.mark.usefixtures("types_unchecked")
def test_callers_random_numbers_go_on_undisturbed(model, split):
    def draws():
        return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002

    def seeded():
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)

    seeded()
    expected = draws()
    seeded()
    train(model, split, steps=1)
    assert draws() == expected


def test_nothing_is_printed_or_left_on_disk(model, split, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    train(model, split, steps=1)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().out == ""


def test_out_saves_what_is_returned(model, split, tmp_path):
    tuned = train(model, split, steps=1, out=tmp_path / "tuned")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned")
    assert Model("again", loaded, tuned.tokenizer).digest == tuned.digest
    with pytest.raises(InputError, match="tuned is there already; choose a new folder"):
        train(model, split, steps=1, out=tmp_path / "tuned")


def test_accumulation_gives_nearly_the_same_weights(model, split):
    whole, parts = (
        train(model, split, steps=3, batch_size=8, accumulation=n) for n in (1, 4)
    )
    pairs = zip(whole.network.parameters(), parts.network.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be above 0, got 0"),
        ({"steps": 0}, "steps must be above 0, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0, got -1.0"),
        ({"batch_size": 8, "accumulation": 3}, "batch_size 8 can't be spread over 3"),
    ],
)
def test_settings_out_of_range_are_refused(model, split, settings, message):
    with pytest.raises(InputError, match=message):
        train(model, split, **settings)


@pytest.mark.parametrize(
    "both", [[LoRA(), Freezing(bottom=1)], [SelfDistillation(), TargetedDistillation()]]
)
def test_what_can_not_be_combined_is_refused(model, split, both):
    with pytest.raises(InputError, match="can't be combined"):
        train(model, split, mitigation=both)


def test_two_that_add_rows_are_refused(model, split):
    both = [Replay(), SelfDistillation(rows="background")]
    with pytest.raises(InputError, match="both add rows"):
        train(model, split, mitigation=both)


@pytest.mark.parametrize("adds", [Replay(), KnownPatch(share=0.2)])
def test_distillation_and_added_rows_combine(model, split, adds):
    """Added rows are distilled on, too."""
    options = {"epochs": 4, "batch_size": 6, "learning_rate": 1e-3}
    pair, plain = (
        train(model, split, mitigation=given, **options)
        for given in ([adds, SelfDistillation(strength=100.0)], [adds])
    )
    far = [
        sum(
            float((a - b).square().sum())
            for a, b in zip(
                tuned.network.parameters(), model.network.parameters(), strict=True
            )
        )
        for tuned in (pair, plain)
    ]
    assert 0 < far[0] < far[1] / 2


def test_half_precision_weights_are_refused(model, split):
    half = model.copy()
    half.network.to(torch.bfloat16)
    with pytest.raises(InputError, match=r"bfloat16 weights.*dtype='float32'.*bf16=True"):
        train(half, split)


def test_a_loss_that_is_not_finite_is_an_error(model, split):
    broken = model.copy()
    broken.network.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(InputError, match=r"finite at step 1, in training row \d+; lower"):
        train(broken, split, steps=2)


def test_autocast_keeps_float32_weights(model, split):
    tuned = train(model, split, mitigation=SelfDistillation(), steps=2, bf16=True)
    assert tuned.network.dtype == torch.float32
    logits = tuned.network(input_ids=torch.tensor([[1, 2]])).logits
    assert logits.dtype == torch.float32
    assert logits.equal(tuned.copy().network(input_ids=torch.tensor([[1, 2]])).logits)


def test_of_facts_alone_nobody_knows_which_were_known(model):
    split = Split.for_training(places()[:16])
    with pytest.raises(InputError, match="needs to be told which rows are Known"):
        train(model, split, mitigation=SelfDistillation(rows="known"), steps=1)
