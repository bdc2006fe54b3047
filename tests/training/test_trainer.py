"""Losses and gradients of the trainer against plain formulas over all logits."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from datasets import Dataset
from tiny_models import places, tiny_model
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments

from interfere.errors import InputError
from interfere.training.rows import IGNORED, FactRows, collate
from interfere.training.self_distillation import SelfDistillation
from interfere.training.targeted_distillation import TargetedDistillation
from interfere.training.trainer import InterferenceTrainer

TARGETED = TargetedDistillation(strength=2.0, facts=places()[32:])


@dataclass
class KeepGradients(TrainerCallback):
    """Each optimizer step's gradients, before they are used."""

    network: torch.nn.Module

    def __post_init__(self):
        self.steps: list[dict[str, Tensor]] = []

    def on_pre_optimizer_step(self, *args, **kwargs):
        named = self.network.named_parameters()
        self.steps.append({n: p.grad.clone() for n, p in named if p.grad is not None})


def first_gradients(
    model,
    facts,
    tmp_path,
    *,
    batch=12,
    accumulation=1,
    mitigation=None,
    rows=None,
    data_collator=collate,
    **options,
):
    network = model.copy().network
    keep = KeepGradients(network)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=batch // accumulation,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        max_grad_norm=0.0,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        **({"remove_unused_columns": False} | options),
    )
    given = FactRows(facts, model.tokenizer)
    trainer = InterferenceTrainer(
        network,
        arguments,
        mitigation=mitigation,
        tokenizer=model.tokenizer,
        train_dataset=given if rows is None else rows,
        data_collator=data_collator,
        processing_class=None if data_collator else model.tokenizer,
        callbacks=[keep],
    )
    trainer.train()
    if rows is not None:
        asked = InterferenceTrainer.evaluate(trainer, eval_dataset=rows)
        assert asked["eval_loss"] > 0
    return keep.steps[0], collate([given[i] for i in range(len(given))])


def plain_gradients(model, batch, teacher=None, positions="all"):
    """Everything at once: full logits, full formula."""
    network = model.copy().network
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = network(**inputs).logits
    labels = F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORED)
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    if teacher is not None:
        with torch.no_grad():
            p = (teacher.network(**inputs).logits / 0.5).softmax(-1)
        q = (logits / 0.5).softmax(-1)
        mask = (
            labels != IGNORED if positions == "answer" else batch["attention_mask"].bool()
        )
        loss = loss + 0.25 * (p * (p / q).log()).sum(-1)[mask].mean()
    loss.backward()
    return {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("positions", ["none", "all", "answer"])
def test_gradient_is_that_of_the_formula(architecture, positions, split, tmp_path):
    still = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    changes = still if architecture == "gpt2" else {}
    model, teacher = (tiny_model(architecture, seed=seed, **changes) for seed in (0, 1))
    mitigation = (
        None if positions == "none" else SelfDistillation(teacher, positions=positions)
    )
    found, batch = first_gradients(model, split.known, tmp_path, mitigation=mitigation)
    with_teacher = None if positions == "none" else teacher
    assert_close(found, plain_gradients(model, batch, with_teacher, positions))


@pytest.mark.parametrize(
    "mitigation",
    [None, SelfDistillation(strength=2.0), TARGETED],
)
def test_a_dataset_with_columns_of_its_own_trains_as_the_rows_do(
    mitigation, model, split, tmp_path
):
    """What Trainer's users have: a `datasets.Dataset`, text columns, lists of numbers."""
    facts = split.known
    rows = FactRows(facts, model.tokenizer)
    dataset = Dataset.from_list(
        [
            {
                **{name: list(map(int, row[name])) for name in ("input_ids", "labels")},
                "attention_mask": [1] * len(row["input_ids"]),
                "question": fact.id,
            }
            for row, fact in zip(rows, facts, strict=True)
        ]
    )
    expected, _ = first_gradients(model, facts, tmp_path, mitigation=mitigation)
    found, _ = first_gradients(
        model,
        facts,
        tmp_path,
        mitigation=mitigation,
        rows=dataset,
        data_collator=None,
        remove_unused_columns=True,
    )
    assert_close(found, expected)


@pytest.mark.parametrize("mitigation", [None, SelfDistillation(strength=2.0)])
def test_checkpointing_activations_changes_nothing(mitigation, model, split, tmp_path):
    plain, kept = (
        first_gradients(
            model, split.known, tmp_path, mitigation=mitigation, gradient_checkpointing=on
        )[0]
        for on in (False, True)
    )
    assert_close(kept, plain)


@pytest.mark.parametrize("positions", ["none", "all", "answer"])
def test_accumulation_changes_nothing(model, positions, split, tmp_path):
    teacher = tiny_model("llama", seed=1)
    mitigation = (
        None if positions == "none" else SelfDistillation(teacher, positions=positions)
    )
    facts = split.training[:11]  # the last part is a smaller one
    once, parts = (
        first_gradients(model, facts, tmp_path, mitigation=mitigation, accumulation=n)[0]
        for n in (1, 3)
    )
    assert_close(parts, once)


def test_only_predicting_positions_pass_through_the_head(model, split, tmp_path):
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    network = model.copy().network
    trainer = InterferenceTrainer(network, arguments)
    seen = []
    network.lm_head.register_forward_hook(lambda _, inputs, out: seen.append(len(out)))
    rows = FactRows(split.known, model.tokenizer)
    batch = collate([rows[i] for i in range(len(rows))])
    trainer.compute_loss(network, batch)
    assert seen == [int((batch["labels"] != IGNORED).sum())]
    assert seen[0] < batch["attention_mask"].sum() / 2


@pytest.mark.usefixtures("types_unchecked")
def test_what_is_no_mitigation_is_refused(model, tmp_path):
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises(InputError, match="str is no mitigation"):
        InterferenceTrainer(model.copy().network, arguments, mitigation="self-distillation")


def test_another_loss_is_refused(model, split, tmp_path):
    with pytest.raises(InputError, match="computes its own loss"):
        first_gradients(model, split.known, tmp_path, label_smoothing_factor=0.1)
