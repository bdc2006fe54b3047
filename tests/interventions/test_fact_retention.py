"""Facts watched during training: in any trainer, without disturbing it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from chat_templates import with_template
from datasets import Dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_models import places, tiny_model
from transformers import (
    Trainer,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from interfere.errors import InputError
from interfere.facts.chat import conversations
from interfere.facts.geonames import geonames
from interfere.interventions.asking import Questions
from interfere.interventions.fact_retention import FactRetentionCallback
from interfere.knowledge.splits import Split
from interfere.training.chat_rows import chat_rows
from interfere.training.rows import FactRows, collate
from interfere.training.train import train
from interfere.training.trainer import InterferenceTrainer

REPORTED = {"stability", "net_loss", "dip", "erosion", "drift"}
HOOK = "blocks.2.hook_out"


@pytest.fixture(scope="module")
def known(nano):
    """120 cities that nano knows, of six countries."""
    cities = geonames(["P17"], limit=2000)
    questions = Questions(nano, cities, 64)
    right = np.zeros(len(cities), bool)
    with torch.inference_mode():
        for rows in questions.batches:
            right[rows] = questions.score(nano, rows).right
    facts = [fact for fact, is_right in zip(cities, right, strict=True) if is_right]
    names, counts = np.unique([fact.answer for fact in facts], return_counts=True)
    chosen = names[np.argsort(-counts, kind="stable")[:6]]
    some = [[f for f in facts if f.answer == name][:20] for name in chosen]
    return replace(cities, facts=tuple(fact for own in some for fact in own))


def arguments(folder, **given):
    options = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 16,
        "max_steps": 6,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    return options | given


def trained(nano, known, folder, callbacks, resume=None, **given):
    model = nano.copy()
    new = geonames(["P17"], limit=6000)[5500:5596]
    trainer = Trainer(
        model.network,
        TrainingArguments(**arguments(folder, **given)),
        train_dataset=FactRows(new, model.tokenizer),
        data_collator=collate,
        processing_class=model.tokenizer,
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=resume)
    return model, trainer


def look(callback, model, step):
    """One check, as a trainer would ask for it."""
    state = TrainerState(global_step=step, max_steps=10, epoch=step / 5)
    event = callback.on_step_end if step else callback.on_train_begin
    event(
        TrainingArguments(use_cpu=True, report_to="none"),
        state,
        TrainerControl(),
        model=model.network,
        processing_class=model.tokenizer,
    )


def planted(nano, change):
    after = nano.copy("planted")

    def put(module, given, out):
        return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

    after.network.model.layers[2].register_forward_hook(put)
    return after


def test_a_common_shift_is_a_dip_and_a_residual_erosion(nano, known):
    generator = torch.Generator().manual_seed(0)
    along = torch.randn(160, generator=generator)
    wave = torch.randn(160, 160, generator=generator)
    found = {}
    for kind, change in {
        "dip": lambda out: out + 0.6 * out.norm(dim=-1).mean() * along / along.norm(),
        "erosion": lambda out: (
            out + 0.2 * out.norm(dim=-1, keepdim=True) * torch.cos(20 * out @ wave) / 1.2
        ),
    }.items():
        callback = FactRetentionCallback(known, every=1, hook=HOOK)
        look(callback, nano, 0)
        look(callback, planted(nano, change), 1)
        found[kind] = callback.history.iloc[-1]
        assert found[kind]["net_loss"] > 0.1
        share = found[kind][kind] / found[kind]["net_loss"]
        # Other tokens' keys and values stay shifted, so not quite all come back.
        assert share > 0.8, (kind, dict(found[kind]))


def test_what_comes_back_is_said(nano, known):
    callback = FactRetentionCallback(known, every=1)
    look(callback, nano, 0)
    look(callback, planted(nano, torch.zeros_like), 1)
    look(callback, nano, 2)
    assert callback.history["stability"].tolist() == [1, pytest.approx(0, abs=0.2), 1]
    lost, back = (callback.flips[callback.flips["step"] == step] for step in (1, 2))
    assert set(lost["change"]) <= {"dip", "erosion"}
    assert set(back["change"]) == {"back"}
    assert sorted(lost["fact"]) == sorted(back["fact"])


def test_a_whole_checkpoint_holds_how_facts_stood(nano, known, tmp_path, monkeypatch):
    """The file is there before the mark is, so that no kill leaves the mark without it."""
    found = []

    def mark(folder):
        found.append(len(list(folder.glob("fact_retention-*"))))

    monkeypatch.setattr("interfere.training.checkpointed_trainer.mark_whole", mark)
    watch = FactRetentionCallback(known[:8], every=2, tokenizer=nano.tokenizer)
    saves = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    trainer = InterferenceTrainer(
        nano.copy().network,
        TrainingArguments(**arguments(tmp_path, **saves)),
        train_dataset=FactRows(known[8:40], nano.tokenizer),
        data_collator=collate,
        callbacks=[watch],
    )
    trainer.train()
    assert found == [1, 1]


def test_what_is_reported_reaches_tensorboard(nano, known, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    callback = FactRetentionCallback(known[:16], every=2)
    trained(nano, known, tmp_path, [callback], max_steps=4, report_to=["tensorboard"])
    (events,) = (tmp_path / "board").rglob("events.*")
    board = EventAccumulator(str(events.parent)).Reload()
    for name in REPORTED:
        seen = {at.step: at.value for at in board.Scalars(f"train/retention/{name}")}
        told = dict(zip(callback.history["step"], callback.history[name], strict=True))
        assert seen == pytest.approx(told, rel=1e-5)


def test_a_training_that_resumes_counts_from_the_start(nano, known, tmp_path, caplog):
    saves = {"save_strategy": "steps", "save_steps": 4}
    whole = FactRetentionCallback(known, every=2)
    trained(nano, known, tmp_path, [whole], **saves)
    again = FactRetentionCallback(known, every=2)
    checkpoint = tmp_path / "checkpoint-4"
    trained(nano, known, tmp_path / "elsewhere", [again], resume=str(checkpoint))
    assert whole.history["net_loss"].iloc[-1] > 0
    pd.testing.assert_frame_equal(again.history, whole.history)
    pd.testing.assert_frame_equal(again.flips, whole.flips)
    next(checkpoint.glob("fact_retention-*")).unlink()
    anew = FactRetentionCallback(known, every=2)
    trained(nano, known, tmp_path, [anew], resume=str(checkpoint))
    assert "counted from this checkpoint on" in caplog.text
    assert anew.history["step"].tolist() == [4, 6]


def test_checks_are_no_more_than_asked_for(nano, known, tmp_path):
    callback = FactRetentionCallback(known, checks=4)
    trained(nano, known, tmp_path, [callback])
    assert callback.history["step"].tolist() == [0, 2, 4, 6]


def test_in_a_plain_trainer(nano, known, tmp_path):
    callback = FactRetentionCallback(known, new=known[:10], trained=known[5:9], every=2)
    model, trainer = trained(nano, known, tmp_path, [callback])
    logged = [row for row in trainer.state.log_history if "retention/stability" in row]
    assert [row["step"] for row in logged] == [0, 2, 4, 6]
    assert callback.history["step"].tolist() == [0, 2, 4, 6]
    both = {"plasticity", "task"}
    assert set(callback.history.columns) == {"step", "epoch"} | both | REPORTED
    assert callback.history["task"].iloc[0] == 1  # all of them are known
    for row, ours in zip(logged, callback.history.to_dict("records"), strict=True):
        assert all(row[f"retention/{name}"] == ours[name] for name in REPORTED)
    questions = Questions(model, known, 64)
    with torch.inference_mode():
        right = [questions.score(model, rows).right for rows in questions.batches]
    assert logged[-1]["retention/stability"] == np.concatenate(right).mean()
    last = callback.history.iloc[-1]
    assert last["dip"] + last["erosion"] == pytest.approx(last["net_loss"])
    losses = [row["step"] for row in trainer.state.log_history if "loss" in row]
    assert losses == [1, 2, 3, 4, 5, 6]


def test_in_our_own_training(nano, known):
    """`train` keeps its trainer to itself, and the trainer its tokenizer."""
    callback = FactRetentionCallback(known[:12], every=1)
    split = Split.for_training(known[12:36])
    train(nano, split, steps=2, batch_size=24, callbacks=[callback])
    assert callback.history["step"].tolist() == [0, 1, 2]


def test_training_is_the_same_bit_for_bit(nano, known, tmp_path):
    watched, _ = trained(
        nano, known, tmp_path / "a", [FactRetentionCallback(known, every=1)]
    )
    alone, _ = trained(nano, known, tmp_path / "b", [])
    pairs = zip(watched.network.parameters(), alone.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_erosion_stops_training_when_asked_to(nano, known, tmp_path):
    callback = FactRetentionCallback(known, every=1, stop_at_erosion=0.0)
    _, trainer = trained(nano, known, tmp_path, [callback], max_steps=12)
    eroded = callback.history[callback.history["erosion"] > 0]["step"]
    assert len(eroded) == 1
    assert trainer.state.global_step == callback.stopped_at == eroded.iloc[0] < 12


def test_a_dip_stops_nothing(nano, known):
    generator = torch.Generator().manual_seed(0)
    along = torch.randn(160, generator=generator)
    callback = FactRetentionCallback(known, every=1, hook=HOOK, stop_at_erosion=0.1)
    look(callback, nano, 0)
    shifted = planted(
        nano, lambda out: out + 0.6 * out.norm(dim=-1).mean() * along / along.norm()
    )
    look(callback, shifted, 1)
    assert callback.history.iloc[-1]["dip"] > 0.1
    assert callback.stopped_at is None


@pytest.mark.parametrize("adapter", [False, True])
def test_in_trls_trainer_on_conversations(tmp_path, adapter):
    from peft import LoraConfig

    model = tiny_model().copy()
    tokenizer = with_template(model.tokenizer)
    facts = places()[:16]
    callback = FactRetentionCallback(facts, every=15, chat=True)
    trainer = SFTTrainer(
        model.network,
        args=SFTConfig(
            **arguments(
                tmp_path,
                max_steps=60,
                logging_steps=5,
                learning_rate=1e-2 if adapter else 3e-3,
            ),
            max_length=128,
            bf16=False,
        ),
        train_dataset=Dataset.from_list(conversations(facts)),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, target_modules="all-linear") if adapter else None,
        callbacks=[callback],
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "retention/stability" in row]
    assert [row["step"] for row in logged] == [0, 15, 30, 45, 60]
    assert logged[0]["retention/stability"] == 0
    assert logged[-1]["retention/stability"] > 0.5
    assert set(callback.flips["change"]) >= {"gained"}
    # TRL's own averages, which its log begins anew, are in every report of the loss.
    losses = [row for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 12
    assert all("mean_token_accuracy" in row for row in losses)


def test_asked_as_it_was_taught(tmp_path):
    """What is right is what generation from the template's prompt gives."""
    model = tiny_model().copy()
    tokenizer = with_template(model.tokenizer)
    facts = places()[:8]
    callback = FactRetentionCallback(facts, every=80, chat=True)
    Trainer(
        model.network,
        TrainingArguments(**arguments(tmp_path, max_steps=80, learning_rate=3e-3)),
        train_dataset=chat_rows(conversations(facts), tokenizer),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[callback],
    ).train()
    model.network.eval()
    said = []
    for row in conversations(facts):
        ids = tokenizer.apply_chat_template(
            row["messages"][:1],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=False,
        )
        out = model.network.generate(
            ids, max_new_tokens=20, do_sample=False, eos_token_id=tokenizer.eos_token_id
        )
        said.append(tokenizer.decode(out[0, ids.shape[1] :]))
    wanted = [fact.answer + tokenizer.eos_token for fact in facts]
    share = np.mean([one == other for one, other in zip(said, wanted, strict=True)])
    assert callback.history.iloc[-1]["stability"] == share > 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"facts": places()[:0]}, "no facts to watch"),
        ({"checks": 0}, "checks must be 1 or more"),
        ({"every": 0}, "every must be 1 or more"),
        ({"named": -1}, "named must be 0 or more"),
        ({"stop_at_erosion": 1.5}, "stop_at_erosion must be in"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(InputError, match=message):
        FactRetentionCallback(**{"facts": places(), **given})


def test_what_is_missing_is_said_when_training_begins():
    model = tiny_model()
    callback = FactRetentionCallback(places())
    with pytest.raises(InputError, match="needs a tokenizer"):
        callback.on_train_begin(
            TrainingArguments(use_cpu=True, report_to="none"),
            TrainerState(max_steps=1),
            TrainerControl(),
            model=model.network,
        )
    with pytest.raises(InputError, match="no hook"):
        look(FactRetentionCallback(places(), hook="blocks.9.hook_out"), model, 0)
    with pytest.raises(InputError, match="no chat template"):
        look(FactRetentionCallback(places(), chat=True), model, 0)
