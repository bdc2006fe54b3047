"""Fine-tune a copy of a model on a split, with or without a mitigation."""

import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from interfere.errors import InputError
from interfere.knowledge.splits import Split
from interfere.models.model import Model
from interfere.training.cost import Cost
from interfere.training.mitigation import ChangesModel, Mitigation, as_mitigations
from interfere.training.rows import FactRows, collate
from interfere.training.trainer import InterferenceTrainer

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises linearly; constant afterwards."""


def train(
    model: Model,
    split: Split,
    *,
    mitigation: Mitigation | Sequence[Mitigation] | None = None,
    epochs: float = 24,
    learning_rate: float = 1e-4,
    batch_size: int = 32,
    steps: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    accumulation: int = 1,
    bf16: bool = False,
    base: Model | None = None,
    cost: Cost | None = None,
) -> Model:
    """Train a copy of the model on the split's Known and Unknown facts.

    Cross-entropy on answer and end, averaged over tokens. AdamW (.9, .999, no weight
    decay), gradient norm clipped at 1, linear warm-up over the first 5 % of the steps and
    constant from there, so that curves of runs of unlike length can be compared by step;
    the paper's schedule is not known. The same seed gives bit-identical weights on one
    machine with one thread count.

    Args:
        model: what training starts from, float32; usually a format checkpoint.
        split: its `training` facts are trained on; a mitigation may spend its `others`.
        mitigation: what this arm adds to plain fine-tuning; one or several.
        epochs: passes over the facts.
        learning_rate: after warm-up.
        batch_size: facts an optimizer step.
        steps: optimizer steps; overrides `epochs` (the Known-only control takes as many as
            the arm that it belongs to: `step_count`).
        seed: of the data order and of dropout where the model has it.
        out: folder to save to as well, new or empty.
        callbacks: transformers' callbacks, such as FactEvaluation.
        accumulation: forward passes that a batch is spread over.
        bf16: bfloat16 autocast over the float32 weights.
        base: the model before it learnt the format, for mitigations that go back to it.
        cost: what the training takes is counted there.

    Returns:
        A new model in evaluation mode, every parameter trainable.

    Raises:
        InputError: nothing to train on, a setting out of range, weights that are not
            float32, a folder that holds something, a mitigation without what it needs, or
            a loss that is no longer finite.
    """
    _check(model, epochs, learning_rate, batch_size, steps, accumulation)
    target, cost = free_folder(out), cost or Cost()
    cost.start()
    rows = FactRows(split.training, model.tokenizer, room(model))
    mitigations = as_mitigations(mitigation)
    trained = model.copy(_name(model, split, mitigations, seed))
    network = trained.network
    caching = network.config.use_cache
    with tempfile.TemporaryDirectory() as scratch, _own_randomness(model.device):
        arguments = TrainingArguments(
            output_dir=scratch,
            per_device_train_batch_size=batch_size // accumulation,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=epochs,
            max_steps=steps or -1,
            learning_rate=learning_rate,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=math.ceil(
                WARM_UP * (steps or step_count(len(rows), epochs, batch_size))
            ),
            weight_decay=0.0,
            max_grad_norm=1.0,
            bf16=bf16,
            seed=seed,
            use_cpu=model.device.type == "cpu",
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=model.device.type != "cpu",
            remove_unused_columns=False,
            logging_nan_inf_filter=False,
        )
        trainer = InterferenceTrainer(
            network,
            arguments,
            mitigation=mitigations,
            tokenizer=model.tokenizer,
            known_rows=range(len(split.known)) if split.told else None,
            old_facts=split.others,
            base=base,
            cost=cost,
            train_dataset=rows,
            data_collator=collate,
            callbacks=list(callbacks),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        cost.pause()
        trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False)
    for one in mitigations:
        if isinstance(one, ChangesModel):
            one.finish(network)
    network.config.use_cache = caching
    network.zero_grad(set_to_none=True)
    network.requires_grad_(True).eval()
    if target is not None:
        trained.save(target)
    return trained


def format_checkpoint(
    model: Model,
    split: Split,
    *,
    epochs: float = 2,
    learning_rate: float = 1e-4,
    batch_size: int = 32,
    seed: int = 0,
    bf16: bool = False,
) -> Model:
    """Teach a copy of the model the question's format on the split's Known facts alone.

    What every arm starts from, and the reference that every measure calls "before". The
    paper trains one epoch; small models needed two in our sketches.

    Raises:
        InputError: as in `train`.
    """
    return train(
        model,
        split.known_only,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        bf16=bf16,
    )


def step_count(facts: int, epochs: float, batch_size: int) -> int:
    """Optimizer steps that so many epochs take; an epoch's last batch may be smaller."""
    return math.ceil(epochs * math.ceil(facts / batch_size))


def _check(
    model: Model,
    epochs: float,
    learning_rate: float,
    batch_size: int,
    steps: int | None,
    accumulation: int,
) -> None:
    settings = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    for name, value in {**settings, "steps": steps, "accumulation": accumulation}.items():
        if value is not None and not value > 0:
            raise InputError(f"{name} must be above 0, got {value}")
    if batch_size % accumulation:
        raise InputError(
            f"batch_size {batch_size} can't be spread over {accumulation} equal passes; "
            "choose an accumulation that divides it"
        )
    if model.network.dtype != torch.float32:
        raise InputError(
            f"{model.name} has {model.network.dtype} weights, in which AdamW rounds most "
            "updates away; load it with dtype='float32' and train with bf16=True"
        )


def free_folder(out: str | Path | None) -> Path | None:
    """The folder to save to.

    Raises:
        InputError: it holds something.
    """
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; choose a new folder or remove it")
    return folder


def room(model: Model) -> int | None:
    """Tokens that a row may have; None where the architecture sets no limit."""
    config = model.network.config.get_text_config()
    return getattr(config, "max_position_embeddings", None)


def _name(model: Model, split: Split, mitigations: Sequence[Mitigation], seed: int) -> str:
    facts = f"{len(split.known)} Known"
    if len(split.unknown):
        facts += f" and {len(split.unknown)} Unknown facts"
    else:
        facts += " facts"
    arm = "".join(f", {type(one).__name__}" for one in mitigations)
    return f"{model.name} trained on {facts}{arm}, seed {seed}"


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Trainer seeds every generator; the caller's go on afterwards as if it hadn't."""
    devices = [device] if device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
