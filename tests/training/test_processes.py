"""Two processes train as one does, sharded or not; a killed training goes on as it was."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

SCRIPT = """
import os
import signal
import sys
from pathlib import Path
import torch
from accelerate.state import AcceleratorState, DistributedType
from tiny_models import places, tiny_model
from transformers import TrainerCallback, TrainingArguments
from interfere.interventions.fact_retention import FactRetentionCallback
from interfere.training.ewc import EWC
from interfere.training.freezing import Freezing
from interfere.training.gradient_projection import GradientProjection
from interfere.training.l2_anchor import L2Anchor
from interfere.training.lora import LoRA
from interfere.training.replay import Replay
from interfere.training.rows import FactRows, collate
from interfere.training.self_distillation import SelfDistillation
from interfere.training.trainer import InterferenceTrainer

folder, batch, accumulation, way, *kinds = sys.argv[1:]
old = places()[32:]
mitigations = {
    "plain": [],
    "distilled": [SelfDistillation(strength=2.0)],
    "live teacher": [SelfDistillation(strength=2.0, cached=False)],
    "anchored": [L2Anchor(strength=1.0)],
    "ewc": [EWC(strength=1.0, facts=old)],
    "replay": [Replay(ratio=0.5, facts=old)],
    "lora, distilled": [LoRA(rank=4), SelfDistillation()],
    "projected": [GradientProjection(rank=4, facts=old)],
    "masked": [Freezing(trains="attention", random_control=True)],
    "watched": [],
}


class Dies(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 8:
            os.kill(os.getpid(), signal.SIGKILL)


sharded = {}
if way == "sharded":
    sharded = {
        "fsdp": True,
        "fsdp_config": {"transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]},
    }
    # accelerate takes its plugin on accelerators alone; on processors the same wrapping works
    made = AcceleratorState.__init__

    def make(self, *given, fsdp_plugin=None, **named):
        made(self, *given, fsdp_plugin=fsdp_plugin, **named)
        self.fsdp_plugin = fsdp_plugin or self.__dict__.get("fsdp_plugin")
        if self.fsdp_plugin is not None:
            self.distributed_type = DistributedType.FSDP

    AcceleratorState.__init__ = make
for kind in kinds:
    torch.manual_seed(0)
    model = tiny_model(seed=1).copy()
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=int(batch),
        gradient_accumulation_steps=int(accumulation),
        max_steps=12,
        learning_rate=1e-3,
        # AdamW makes a whole step of a gradient that is nothing but rounding, and which way
        # it goes depends on the processor: not at this epsilon.
        adam_epsilon=1e-5,
        use_cpu=True,
        report_to="none",
        save_strategy="steps",
        save_steps=6 if sharded else 3,
        logging_strategy="no",
        disable_tqdm=True,
        **sharded,
    )
    trainer = InterferenceTrainer(
        model.network,
        arguments,
        mitigation=mitigations[kind],
        tokenizer=model.tokenizer,
        train_dataset=FactRows(places()[:32], model.tokenizer),
        data_collator=collate,
        callbacks=[Dies()] * (way == "killed")
        + [FactRetentionCallback(old)] * (kind == "watched"),
    )
    trainer.train(resume_from_checkpoint=True if way == "resume" else None)
    assert bool(sharded) == ("FSDP" in type(trainer.model_wrapped).__name__)
    weights = {
        name: value.full_tensor() if sharded else value
        for name, value in trainer.model.state_dict().items()
    }
    if trainer.accelerator.is_main_process:
        torch.save(weights, Path(folder) / f"{kind}.pt")
if torch.distributed.is_initialized():
    # Ending the interpreter, or the group, with the threads of gloo alive may abort (pytorch
    # issue 190489): leave at once, when both have written what they have to.
    torch.distributed.barrier()
    os._exit(0)
"""

KINDS = [
    "plain",
    "distilled",
    "live teacher",
    "anchored",
    "ewc",
    "replay",
    "lora, distilled",
]

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


def finish(
    folder: Path, processes: int, *given: object, kinds: Sequence[str]
) -> dict[str, dict[str, torch.Tensor]]:
    process = start(folder, processes, *given, *kinds)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return {kind: torch.load(folder / f"{kind}.pt") for kind in kinds}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return finish(tmp_path_factory.mktemp("one"), 1, 8, 1, "anew", kinds=KINDS)


@pytest.mark.parametrize(
    ("batch", "accumulation", "way", "kinds"),
    [
        (4, 1, "anew", ["plain", "distilled", "replay"]),
        (4, 1, "sharded", KINDS),
        (2, 2, "sharded", ["distilled", "anchored"]),
    ],
)
def test_two_processes_are_one(batch, accumulation, way, kinds, alone, tmp_path):
    both = finish(tmp_path, 2, batch, accumulation, way, kinds=kinds)
    for kind in kinds:
        assert both[kind].keys() == alone[kind].keys()
        for name, value in alone[kind].items():
            torch.testing.assert_close(both[kind][name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("projected", "GradientProjection asks the model"),
        ("masked", "masks single weights' gradients"),
        ("watched", "FactRetentionCallback asks the model"),
    ],
)
def test_what_shards_cannot_do_is_refused(kind, message, tmp_path):
    process = start(tmp_path, 2, 4, 1, "sharded", kind)
    _, said = process.communicate(timeout=300)
    assert process.returncode != 0
    assert message in said
    assert "train it with DDP" in said


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_training_goes_on_to_the_same_weights(processes, tmp_path):
    kinds = ["distilled"]
    whole = finish(tmp_path / "whole", processes, 4, 1, "anew", kinds=kinds)["distilled"]
    folder = tmp_path / "killed"
    process = start(folder, processes, 4, 1, "killed", *kinds)
    _, said = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL or "Signal 9 (SIGKILL)" in said
    assert (folder / "checkpoint-6").is_dir()
    assert not (folder / "distilled.pt").exists()
    resumed = finish(folder, processes, 4, 1, "resume", kinds=kinds)["distilled"]
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
