"""Two processes train as one does, and a killed training goes on to the same weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

SCRIPT = """
import sys
from pathlib import Path
import torch
from tiny_models import places, tiny_model
from transformers import TrainingArguments
from interfere.training.rows import FactRows, collate
from interfere.training.self_distillation import SelfDistillation
from interfere.training.trainer import InterferenceTrainer

folder, batch, accumulation, mitigated, resume = sys.argv[1:]
torch.manual_seed(0)
model = tiny_model(seed=1).copy()
arguments = TrainingArguments(
    output_dir=folder,
    per_device_train_batch_size=int(batch),
    gradient_accumulation_steps=int(accumulation),
    max_steps=12,
    learning_rate=1e-3,
    use_cpu=True,
    report_to="none",
    save_strategy="steps",
    save_steps=2,
    logging_strategy="no",
    disable_tqdm=True,
)
trainer = InterferenceTrainer(
    model.network,
    arguments,
    mitigation=SelfDistillation(strength=2.0) if mitigated == "distilled" else None,
    train_dataset=FactRows(places()[:48], model.tokenizer),
    data_collator=collate,
)
trainer.train(resume_from_checkpoint=True if resume == "resume" else None)
if trainer.accelerator.is_main_process:
    torch.save(model.network.state_dict(), Path(folder) / "end.pt")
"""

pytestmark = pytest.mark.slow


def start(folder: Path, processes: int, *given: object) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    script = folder / "run.py"
    script.write_text(SCRIPT)
    here = Path(__file__).parent.parent
    path = os.pathsep.join([str(here.parent), str(here)])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = (
        [*torchrun, f"--nproc-per-node={processes}"] if processes > 1 else [sys.executable]
    )
    return subprocess.Popen(
        [*command, str(script), str(folder), *map(str, given)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path, processes: int, *given: object) -> dict[str, torch.Tensor]:
    process = start(folder, processes, *given)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return torch.load(folder / "end.pt")


@pytest.mark.parametrize("kind", ["plain", "distilled"])
def test_two_processes_are_one(kind, tmp_path):
    alone = finish(tmp_path / "one", 1, 8, 1, kind, "anew")
    both = finish(tmp_path / "two", 2, 4, 1, kind, "anew")
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, atol=1e-5, rtol=0)


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    whole = finish(tmp_path / "whole", 1, 4, 1, "distilled", "anew")
    folder = tmp_path / "killed"
    process = start(folder, 1, 4, 1, "distilled", "anew")
    # The folder is there before what belongs into it.
    until = time.monotonic() + 120
    while not list(folder.glob("checkpoint-6")) and time.monotonic() < until:
        assert process.poll() is None or (folder / "checkpoint-6").exists()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "end.pt").exists()
    resumed = finish(folder, 1, 4, 1, "distilled", "resume")
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
