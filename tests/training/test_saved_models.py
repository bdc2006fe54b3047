"""What a trainer saves loads as it is, is finite, and is what the trained model says."""

import pytest
import torch
from tiny_models import places, tiny_model
from transformers import AutoModelForCausalLM, TrainerCallback, TrainingArguments

from interfere.errors import InputError
from interfere.training.checkpoints import last_whole
from interfere.training.lora import LoRA
from interfere.training.rows import FactRows, collate
from interfere.training.trainer import InterferenceTrainer

IDS = torch.tensor([[1, 5, 9, 30]])


def trainer_of(folder, mitigation=None, architecture="llama", **options):
    model = tiny_model(architecture, seed=1).copy()
    defaults = {
        "learning_rate": 3e-3,
        "max_steps": 4,
        "save_steps": 2,
        "max_grad_norm": 1.0,
    }
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        save_strategy="steps",
        use_cpu=True,
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        **(defaults | options),
    )
    return InterferenceTrainer(
        model.network,
        arguments,
        mitigation=mitigation,
        tokenizer=model.tokenizer,
        train_dataset=FactRows(places()[:32], model.tokenizer),
        eval_dataset=FactRows(places()[32:40], model.tokenizer),
        data_collator=collate,
    )


class StepsTooFar(TrainerCallback):
    def on_step_end(self, args, state, control, model, **kwargs):
        if state.global_step == 3:
            with torch.no_grad():
                next(model.parameters()).fill_(float("inf"))


def logits(network):
    with torch.no_grad():
        return network.eval()(IDS).logits


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_adapters_are_merged_in_what_is_saved(architecture, tmp_path):
    trainer = trainer_of(tmp_path, LoRA(rank=4), architecture)
    start = logits(trainer.model)
    trainer.train()
    trainer.save_model(str(tmp_path / "end"))
    tuned = logits(trainer.model)
    assert not torch.allclose(tuned, start, atol=1e-3)
    for folder in ("end", "checkpoint-4"):
        saved = AutoModelForCausalLM.from_pretrained(tmp_path / folder)
        assert torch.allclose(logits(saved), tuned, atol=1e-5)
        assert (
            saved.state_dict().keys()
            == tiny_model(architecture).network.state_dict().keys()
        )


def test_the_best_checkpoint_comes_back_with_its_adapters(tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    # What has learnt least is called the best: not the last.
    options |= {"metric_for_best_model": "eval_loss", "greater_is_better": True}
    trainer = trainer_of(tmp_path, LoRA(rank=4), max_steps=8, **options)
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert not best.endswith("checkpoint-8")
    saved = AutoModelForCausalLM.from_pretrained(best)
    assert torch.allclose(logits(saved), logits(trainer.model), atol=1e-5)


def test_weights_that_lose_their_way_are_not_saved(tmp_path):
    """A step too far: the checkpoint before it stays, also where there is room for one."""
    trainer = trainer_of(tmp_path, max_steps=6, save_steps=1, save_total_limit=1)
    trainer.add_callback(StepsTooFar())
    kept = tmp_path / "checkpoint-2"
    with pytest.raises(
        InputError, match=r"after step 3 .*checkpoint-2 is the last .*intact"
    ):
        trainer.train()
    assert last_whole(tmp_path) == kept
    saved = AutoModelForCausalLM.from_pretrained(kept)
    assert logits(saved).isfinite().all()


def test_predictions_are_of_every_position(tmp_path):
    trainer = trainer_of(tmp_path)
    rows = trainer.eval_dataset
    found = trainer.predict(rows)
    batch = collate([rows[i] for i in range(8)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        expected = trainer.model.eval()(**inputs).logits
    assert found.predictions.shape == tuple(expected.shape)
    kept = batch["attention_mask"].bool()
    assert torch.allclose(
        torch.from_numpy(found.predictions)[kept], expected[kept], atol=1e-5
    )
    assert found.metrics["test_loss"] == pytest.approx(trainer.evaluate()["eval_loss"])
