"""A self-distillation step against an answer-only one, and against TRL's.

Claims, on SmolLM2 with the teacher's states computed before: distilling on all positions takes
at most 1.4 times an answer-only step, on answer positions at most 1.07 times; and a step is at
least 1.3 times as fast as that of TRL's GKDTrainer (lmbda=0, so offline) on the same rows and
positions, whose loss is the KL alone, where ours has the cross-entropy beside it, with at most
.7 of its peak memory. TRL's DistillationTrainer only trains on what the student generates: it
has no offline loss to compare with.

Sides run by turns, in a process each so that peaks are their own. What is timed is optimizer
steps, the first two left out; computing the teacher's states once is printed apart. Memory is
the process's peak over what it held before the trainer was made. It is measured in a run of its
own in which blocks of a MiB and more go back to the system when they are freed, on every side,
so that the peak is of what was needed: the claim is of that. The peaks of the timed runs, which
hold what the allocator kept beside, are printed too.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
import typer
from sides import ratio, show
from transformers import TrainerCallback, TrainingArguments

from interfere.facts.geonames import geonames
from interfere.models.load import load_model
from interfere.training.rows import IGNORED, FactRows, collate
from interfere.training.self_distillation import SelfDistillation
from interfere.training.trainer import InterferenceTrainer

WARM = 2
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""For glibc: larger blocks are mapped, and unmapped when they are freed."""

SFT, ALL, ANSWER, LIVE = "answer-only", "all, cached", "answer, cached", "all, live"
GKD, GKD_ANSWER = "TRL GKD, all", "TRL GKD, answer"
SIDES = {
    SFT: None,
    ALL: SelfDistillation(temperature=1),
    ANSWER: SelfDistillation(temperature=1, positions="answer"),
    LIVE: SelfDistillation(temperature=1, cached=False),
    GKD: None,
    GKD_ANSWER: None,
}


def main(
    model: str = "smollm2-135m",
    steps: int = 6,
    batch_size: int = 32,
    turns: int = 3,
    threads: int = os.cpu_count() or 1,
    alone: str = "",
) -> None:
    """Print step times, peaks and ratios; exit with 1 if a claim does not hold."""
    if alone:
        typer.echo(json.dumps(measure(model, alone, steps, batch_size, threads)))
        return
    torch.set_num_threads(threads)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    peaks = {}
    for turn in range(turns):
        for name in SIDES:
            given = [name, *map(str, (steps, batch_size, threads))]
            found[name].append(in_a_process(model, *given))
            if not turn:
                peaks[name] = in_a_process(model, *given, **GIVES_BACK)["peak"]
    seconds = {
        name: np.array([one["step"] for one in all_]) for name, all_ in found.items()
    }
    show(f"{model}, a step of {batch_size} facts", seconds, batch_size, "facts")
    for name, needed in peaks.items():
        timed = max(one["peak"] for one in found[name])
        print(
            f"{name}: {needed / 2**20:,.0f} MiB beside the model "
            f"({timed / 2**20:,.0f} with what the allocator kept)"
        )
    once = np.median([one["once"] for one in found[ALL]])
    print(f"teacher's states of {steps * batch_size} facts, once: {once:.1f} s")
    claims = [
        (f"{ALL} / {SFT}", ratio(seconds, ALL, SFT), 1.4, "at most"),
        (f"{ANSWER} / {SFT}", ratio(seconds, ANSWER, SFT), 1.07, "at most"),
        (f"{GKD} / {ALL}", ratio(seconds, GKD, ALL), 1.3, "at least"),
        (f"{GKD_ANSWER} / {ANSWER}", ratio(seconds, GKD_ANSWER, ANSWER), 1.3, "at least"),
        (f"memory, {ALL} / {GKD}", peaks[ALL] / peaks[GKD], 0.7, "at most"),
        (
            f"memory, {ANSWER} / {GKD_ANSWER}",
            peaks[ANSWER] / peaks[GKD_ANSWER],
            0.7,
            "at most",
        ),
    ]
    holds = []
    for name, value, bound, kind in claims:
        print(f"{name}: {value:.2f} (claim: {kind} {bound})")
        holds.append(value <= bound if kind == "at most" else value >= bound)
    raise typer.Exit(int(not all(holds)))


def in_a_process(
    model: str, side: str, steps: str, batch_size: str, threads: str, **environment: str
) -> dict[str, float]:
    """What `measure` finds in a process of its own."""
    command = [sys.executable, __file__, "--model", model, "--alone", side]
    command += ["--steps", steps, "--batch-size", batch_size, "--threads", threads]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Clock(TrainerCallback):
    """Seconds of each optimizer step."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.ends: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Steps are timed from here."""
        self.ends = [time.perf_counter()]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One more."""
        self.ends.append(time.perf_counter())


def measure(
    model: str, side: str, steps: int, batch_size: int, threads: int
) -> dict[str, float]:
    """Median seconds a step; bytes at the peak; seconds before training, once."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    facts = geonames(["P17"], limit=(WARM + steps) * batch_size)
    rows = FactRows(facts, loaded.tokenizer)
    clock, held = Clock(), peak()
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "output_dir": folder,
            "per_device_train_batch_size": batch_size,
            "max_steps": WARM + steps,
            "learning_rate": 1e-5,
            "lr_scheduler_type": "constant",
            "report_to": "none",
            "logging_strategy": "no",
            "save_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
        }
        given = {"train_dataset": rows, "callbacks": [clock]}
        began = time.perf_counter()
        if side in (GKD, GKD_ANSWER):
            trainer = gkd(loaded, options, given, every=side == GKD)
        else:
            arguments = TrainingArguments(**options, remove_unused_columns=False)
            trainer = InterferenceTrainer(
                loaded.network,
                arguments,
                mitigation=SIDES[side],
                tokenizer=loaded.tokenizer,
                data_collator=collate,
                **given,
            )
        once = time.perf_counter() - began
        trainer.train()
    times = np.diff(clock.ends)[WARM:]
    return {"step": float(np.median(times)), "peak": peak() - held, "once": once}


def gkd(loaded: Any, options: dict[str, Any], given: dict[str, Any], every: bool) -> Any:
    """TRL's trainer, offline, forward KL at temperature 1, on all tokens or the answer's."""
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    def batch(rows: list[Any]) -> dict[str, torch.Tensor]:
        made = collate(rows)
        if every:
            made["labels"] = made["input_ids"].masked_fill(
                ~made["attention_mask"].bool(), IGNORED
            )
        return made

    rows = given["train_dataset"]
    given = given | {"train_dataset": Dataset.from_list([dict(row) for row in rows])}
    return GKDTrainer(
        loaded.network,
        loaded.copy().network,
        args=GKDConfig(
            **options,
            lmbda=0.0,
            beta=0.0,
            temperature=1.0,
            gradient_checkpointing=False,
            bf16=False,
        ),
        data_collator=batch,
        processing_class=loaded.tokenizer,
        **given,
    )


def peak() -> int:
    """Bytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    typer.run(main)
