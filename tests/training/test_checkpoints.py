"""A training that goes on from a checkpoint ends where it would have ended."""

import logging

import pytest
import torch
from tiny_models import places, tiny_model
from transformers import AutoModelForCausalLM, TrainingArguments

from interfere.errors import InputError
from interfere.training.checkpoints import WHOLE, last_whole
from interfere.training.ewc import EWC
from interfere.training.freezing import Freezing
from interfere.training.gradient_projection import GradientProjection
from interfere.training.known_patch import KnownPatch
from interfere.training.l2_anchor import L2Anchor
from interfere.training.lora import LoRA
from interfere.training.replay import Replay
from interfere.training.rows import FactRows, collate
from interfere.training.self_distillation import SelfDistillation
from interfere.training.stability_stopping import StabilityStopping
from interfere.training.targeted_distillation import TargetedDistillation
from interfere.training.trainer import InterferenceTrainer

STEPS = 12


def trainer_of(mitigation, folder, model=None, **options):
    model = model or tiny_model(seed=1).copy()
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        learning_rate=3e-3,
        use_cpu=True,
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        **({"max_steps": STEPS, "save_strategy": "steps", "save_steps": 3} | options),
    )
    facts = places()
    return InterferenceTrainer(
        model.network,
        arguments,
        mitigation=mitigation,
        tokenizer=model.tokenizer,
        known_rows=range(16),
        old_facts=facts[32:],
        train_dataset=FactRows(facts[:32], model.tokenizer),
        data_collator=collate,
    )


def weights(trainer):
    return {k: v.clone() for k, v in trainer.model.state_dict().items()}


@pytest.mark.parametrize(
    "mitigation",
    [
        None,
        SelfDistillation(strength=2.0),
        [LoRA(rank=4), SelfDistillation(teacher="adapter-off")],
        L2Anchor(strength=1.0),
        L2Anchor(matching_steps=4),
        EWC(strength=1.0),
        Replay(ratio=0.5),
        KnownPatch(share=0.2),
        GradientProjection(rank=3, count=8),
        GradientProjection(rank=0, count=8, refresh=4),
        GradientProjection(rank=3, count=8, refresh=4),
        *(
            TargetedDistillation(spend=spend, budget=0.5, refresh=refresh, strength=3.0)
            for spend, refresh in {
                "harm": 4,
                "overlap": 3,
                "risk": 0,
                "fallen": 3,
                "uniform": 3,
                "uniform old": 3,
            }.items()
        ),
        StabilityStopping(limit=1.0),
    ],
    ids=str,
)
def test_goes_on_from_a_checkpoint_to_the_same_weights(mitigation, tmp_path):
    whole = trainer_of(mitigation, tmp_path)
    whole.train()
    expected = weights(whole)
    for step in (9, 12):  # as if it had been killed while it wrote the third
        (tmp_path / f"checkpoint-{step}" / WHOLE).unlink()
    again = trainer_of(mitigation, tmp_path, save_strategy="no")
    again.train(resume_from_checkpoint=True)
    found = weights(again)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_stopping_goes_back_to_what_the_first_training_kept(tmp_path):
    """The start that losses are counted from is the training's, not the checkpoint's."""
    model = tiny_model(seed=1)
    taught = trainer_of(None, tmp_path / "taught", max_steps=60, save_strategy="no")
    taught.train_dataset = FactRows(places()[32:], model.tokenizer)
    taught.train()

    def stopped(folder, **options):
        trainer = trainer_of(StabilityStopping(limit=0.05, checks=4), folder, **options)
        trainer.model.load_state_dict(weights(taught))
        return trainer

    whole = stopped(tmp_path, save_steps=1)
    whole.train()
    end, expected = whole.state.global_step, weights(whole)
    assert 1 < end < STEPS
    for step, ended in ((end - 1, end), (end, end + 1)):  # before it stopped, and after
        again = stopped(tmp_path, save_strategy="no")
        again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert again.state.global_step == ended
        assert all(torch.equal(v, expected[k]) for k, v in weights(again).items())


def test_without_a_whole_checkpoint_training_begins_anew(tmp_path, caplog):
    first = trainer_of(None, tmp_path)
    first.train()
    for mark in tmp_path.glob(f"*/{WHOLE}"):
        mark.unlink()
    assert last_whole(tmp_path) is None
    with caplog.at_level(logging.WARNING):
        again = trainer_of(None, tmp_path, save_strategy="no")
        again.train(resume_from_checkpoint=True)
    assert "no checkpoint that is whole" in caplog.text
    assert again.state.global_step == STEPS
    expected = weights(first)
    assert all(torch.equal(v, expected[k]) for k, v in weights(again).items())


def test_another_mitigations_checkpoint_is_refused(tmp_path):
    trainer_of(SelfDistillation(strength=2.0), tmp_path).train()
    folder = str(tmp_path / "checkpoint-3")
    for other, said in {
        StabilityStopping(): "not with StabilityStopping",
        SelfDistillation(strength=1.0): r"strength=2.0.*not with .*strength=1.0",
        None: "not with no mitigation",
    }.items():
        with pytest.raises(InputError, match=said):
            trainer_of(other, tmp_path).train(resume_from_checkpoint=folder)
    with pytest.raises(InputError, match="not there"):
        trainer_of(EWC(strength=1.0), tmp_path).train(resume_from_checkpoint=f"{folder}0")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Freezing(trains=["*q_proj*"]), Freezing(trains=["*o_proj*"])),
        (LoRA(targets=["q_proj"]), LoRA(targets=["v_proj"])),
        (
            SelfDistillation(tiny_model(seed=2)),
            SelfDistillation(tiny_model(seed=3)),
        ),
        (Replay(facts=places()[32:40]), Replay(facts=places()[40:])),
        (
            L2Anchor(matched_to=SelfDistillation(strength=2.0), matching_steps=1),
            L2Anchor(matched_to=SelfDistillation(strength=1.0), matching_steps=1),
        ),
    ],
    ids=lambda given: type(given).__name__,
)
def test_settings_that_are_no_numbers_are_told_apart(one, other, tmp_path):
    trainer_of(one, tmp_path, max_steps=3).train()
    folder = str(tmp_path / "checkpoint-3")
    with pytest.raises(InputError, match="was written with"):
        trainer_of(other, tmp_path).train(resume_from_checkpoint=folder)
    again = trainer_of(one, tmp_path, max_steps=4)
    again.train(resume_from_checkpoint=folder)
    assert again.state.global_step == 4


def test_a_trainer_made_of_another_model_is_refused(tmp_path):
    """As the checkpoint's own, which many load before they resume."""
    trainer_of(SelfDistillation(), tmp_path).train()
    folder = str(tmp_path / "checkpoint-3")
    held = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    tuned = tiny_model(seed=1).copy()
    tuned.network.load_state_dict(held)
    with pytest.raises(InputError, match="began from another model"):
        trainer_of(SelfDistillation(), tmp_path, model=tuned).train(
            resume_from_checkpoint=folder
        )
    trainer_of(None, tmp_path / "plain").train()  # nothing is made from the start
    plain = str(tmp_path / "plain" / "checkpoint-3")
    trainer_of(None, tmp_path, model=tuned).train(resume_from_checkpoint=plain)


def test_a_mitigation_that_goes_on_is_not_begun_again(tmp_path):
    trainer = trainer_of(GradientProjection(rank=3, count=8), tmp_path, max_steps=2)
    trainer.train()
    with pytest.raises(InputError, match="this trainer has trained"):
        trainer.train()


def test_a_kill_while_a_checkpoint_is_written_leaves_a_whole_one(tmp_path, monkeypatch):
    """Trainer takes older ones away before it returns; one rewritten is no longer whole."""
    trainer_of(None, tmp_path, save_total_limit=1).train()
    assert last_whole(tmp_path) == tmp_path / "checkpoint-12"
    assert not (tmp_path / "checkpoint-9").exists()
    again = trainer_of(None, tmp_path, save_total_limit=1)
    monkeypatch.setattr(again, "_save_rng_state", killed)
    with pytest.raises(KeyboardInterrupt):
        again.train()
    assert last_whole(tmp_path) == tmp_path / "checkpoint-12"
    rewritten = trainer_of(None, tmp_path, max_steps=14, save_steps=12)
    monkeypatch.setattr(rewritten, "_save_rng_state", killed)
    with pytest.raises(KeyboardInterrupt):
        rewritten.train()
    assert last_whole(tmp_path) is None


def killed(*_):
    raise KeyboardInterrupt
