"""InterferenceTrainer against a bare PyTorch loop.

Claim: on nano, training takes at most 1.5 times what a loop of forward, loss, backward, clip and
AdamW takes on the same batches. Sides run by turns; the ratio is the median of the turns' own.
"""

import os
import tempfile

import torch
import torch.nn.functional as F  # noqa: N812
import typer
from sides import alternate, ratio, show
from transformers import TrainingArguments

from interfere.facts.geonames import geonames
from interfere.models.load import load_model
from interfere.models.model import Model
from interfere.training.rows import IGNORED, FactRows, SeededOrder, collate
from interfere.training.trainer import InterferenceTrainer

CLAIM = 1.5
RATE = 1e-4


def main(
    model: str = "nano",
    facts: int = 800,
    epochs: int = 3,
    batch_size: int = 32,
    turns: int = 5,
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print times and their ratio; exit with 1 if the claim does not hold."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    rows = FactRows(geonames(["P17"], limit=facts), loaded.tokenizer)
    seconds, found = alternate(
        {
            "bare loop": lambda: loop(loaded.copy(), rows, epochs, batch_size),
            "InterferenceTrainer": lambda: train(loaded.copy(), rows, epochs, batch_size),
        },
        turns,
    )
    show(f"{model}, {epochs} epochs", seconds, epochs * len(rows), "rows")
    apart = max(
        (a - b).abs().max().item()
        for a, b in zip(
            found["bare loop"].parameters(),
            found["InterferenceTrainer"].parameters(),
            strict=True,
        )
    )
    times = ratio(seconds, "InterferenceTrainer", "bare loop")
    print(f"weights apart by at most {apart:.1e}")
    print(f"ratio {times:.2f} (claim: at most {CLAIM})")
    raise typer.Exit(int(times > CLAIM))


def loop(model: Model, rows: FactRows, epochs: int, batch_size: int) -> torch.nn.Module:
    """As short as such a loop can be."""
    network = model.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.0)
    order = SeededOrder(rows, 0)
    for epoch in range(epochs):
        order.set_epoch(epoch)
        for numbers in torch.tensor(list(order)).split(batch_size):
            batch = collate([rows[int(i)] for i in numbers])
            labels = batch.pop("labels")
            logits = network(**batch, use_cache=False).logits
            loss = F.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return network


def train(model: Model, rows: FactRows, epochs: int, batch_size: int) -> torch.nn.Module:
    """The same by Trainer's means."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=batch_size,
            num_train_epochs=epochs,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            seed=0,
            use_cpu=True,
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = InterferenceTrainer(
            model.network,
            arguments,
            tokenizer=model.tokenizer,
            train_dataset=rows,
            data_collator=collate,
        )
        trainer.train()
    return model.network


if __name__ == "__main__":
    typer.run(main)
