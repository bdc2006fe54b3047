"""One run: an arm under a seed, from the format checkpoint to its recordings."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import TrainerCallback

from interfere import cache
from interfere.activations.recorder import record
from interfere.facts.fact import FactSet
from interfere.interventions.repairs import named_repair
from interfere.knowledge.splits import Split
from interfere.models.answering import ask
from interfere.models.confidence import confidence
from interfere.models.load import load_model
from interfere.models.model import Model
from interfere.models.ranking import answer_ranks
from interfere.study.drift_table import drift_table
from interfere.study.manifest import RESULTS_VERSION, finish, is_finished, locked
from interfere.study.study import Arm, Study, plain_sft
from interfere.training.cost import Cost
from interfere.training.evaluation import AtSteps, FactEvaluation, ask_set
from interfere.training.names import named_mitigation
from interfere.training.train import step_count, train


@dataclass(frozen=True)
class Job:
    """All that a worker process needs to make one run."""

    study: Study
    arm: Arm
    seed: int
    split: Split
    """The Unknown facts carry the arm's keys."""
    start: Path
    """The format checkpoint's folder."""
    start_digest: str
    references: Mapping[str, Path]
    """Recordings of the held-out facts that drift is measured against: base, start."""
    candidates: Mapping[str, tuple[str, ...]]
    """By relation, the answers that a held-out answer is ranked among."""
    device: str
    """The kind that the study's model lies on, such as cpu."""
    threads: int
    root: Path
    selecting: bool = False
    """Only asks what settings are chosen by, and keeps nothing else."""

    @property
    def steps(self) -> int:
        """Optimizer steps: those of the SFT arm, whatever rows this arm trains on."""
        rows = self.study.split.known + self.study.split.unknown
        return step_count(rows, self.study.train.epochs, self.study.train.batch_size)

    @property
    def steps_an_epoch(self) -> float:
        """Of the SFT arm."""
        return self.steps / self.study.train.epochs

    @property
    def evaluated(self) -> list[int]:
        """Steps after which facts are asked, the end among them."""
        options, steps = self.study.evaluate, self.steps
        even = {round(steps * (i + 1) / options.points) for i in range(options.points)}
        early = {round(epoch * self.steps_an_epoch) for epoch in options.early}
        return sorted(step for step in even | early | {steps} if 1 <= step <= steps)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the run's result."""
        study = self.study
        kept = {"weights": "kept"} if study.keep_weights else {}
        kept |= {"selecting": "True"} if self.selecting else {}
        return kept | {
            "version": RESULTS_VERSION,
            "start": self.start_digest,
            "arm": self.arm.model_dump(exclude={"name", "sweep", "rate_of", "against"}),
            "training": study.train.model_dump(),
            "steps": self.steps,
            "evaluate": study.evaluate.model_dump(),
            "record": study.record.model_dump(),
            "facts": {name: facts.digest for name, facts in self.sets.items()},
            "training_facts": self.split.training.digest,
            "candidates": {key: list(names) for key, names in self.candidates.items()},
            "dtype": study.dtype,
            "device": self.device,
            "seed": self.seed,
            "threads": self.threads,
        }

    @property
    def folder(self) -> Path:
        """Where the run lies, by its identity."""
        return self.root / cache.digest(self.identity)

    @property
    def sets(self) -> dict[str, FactSet]:
        """The facts asked during training, by name."""
        split = self.split
        named = {
            "known": split.known,
            "unknown": split.unknown,
            "validation": split.validation,
            "held_out": split.held_out,
        }
        asked = ("unknown", "validation") if self.selecting else self.study.evaluate.sets
        named = {name: named[name] for name in asked}
        return {name: facts for name, facts in named.items() if len(facts)}


def execute(job: Job) -> Path:
    """Train, ask, record; or nothing at all if the run is finished already.

    An unfinished run starts anew.
    """
    folder = job.folder
    with locked(folder):
        if is_finished(folder):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        began, threads = time.monotonic(), torch.get_num_threads()
        if job.device == "cpu":
            torch.set_num_threads(job.threads)
        try:
            _execute(job, folder)
            seconds = time.monotonic() - began
            finish(folder, job.identity, arm=job.arm.name, seconds=seconds)
        finally:
            # A round of one run is carried out here, and what follows must not be slower for it.
            torch.set_num_threads(threads)
    return folder


def _execute(job: Job, folder: Path) -> None:
    start = load_model(str(job.start), device=job.study.device, dtype=job.study.dtype)
    cost = Cost()
    evaluation = FactEvaluation(job.sets, job.evaluated, start.tokenizer, cost=cost)
    drifts: list[pd.DataFrame] = []

    def measure_drift(model: Model, step: int) -> None:
        drifts.append(_drift(job, model, folder / "passing.h5").assign(step=step))

    epochs = () if job.selecting else job.study.evaluate.drift_epochs
    steps = [round(epoch * job.steps_an_epoch) for epoch in epochs]
    # The end is measured from the recording that is kept.
    passing = [step for step in steps if 0 <= step < job.steps]
    at = AtSteps(passing, measure_drift, start.tokenizer, cost)
    shared = None if passing else _trained_before(job, cost)
    # A repair's evaluations are of its own path.
    watching: list[TrainerCallback] = [at] if job.arm.repair else [evaluation, at]
    tuned = shared or _trained(job, start, watching, cost)
    table = _repaired(job, start, tuned) if job.arm.repair else evaluation.table
    table = _carried_on(job, table)
    pd.DataFrame([asdict(cost)]).to_csv(folder / "cost.csv", index=False)
    if job.selecting:
        table.assign(epoch=table["step"] / job.steps_an_epoch).to_parquet(
            folder / "facts.parquet", index=False
        )
        if job.study.keep_weights and plain_sft(job.arm):  # for repairs at this rate
            tuned.save(folder / "model")
        return
    _outcomes(job, table, start, tuned).to_parquet(folder / "facts.parquet", index=False)
    _ranks(job, start, tuned).to_parquet(folder / "ranks.parquet", index=False)
    kept = job.study.record
    after = folder / "held_out-after.h5"
    record(tuned, job.split.held_out, after, hooks=kept.hooks, positions=kept.positions)
    if job.study.keep_weights:
        tuned.save(folder / "model")
    drifts.append(_compare(job, after).assign(step=job.steps))
    pd.concat(drifts).to_parquet(folder / "drift.parquet", index=False)


def _trained(job: Job, start: Model, callbacks: list[TrainerCallback], cost: Cost) -> Model:
    options = job.study.train
    needs_base = "base" in job.arm.settings.values()
    return train(
        start,
        job.split,
        mitigation=named_mitigation(
            job.arm.mitigation,
            {} if job.arm.repair else job.arm.settings,
            seed=job.seed,
        ),
        steps=job.steps,
        learning_rate=job.arm.learning_rate or options.learning_rate,
        batch_size=options.batch_size,
        seed=job.seed,
        bf16=options.bf16,
        callbacks=callbacks,
        base=load_model(job.study.model, device=job.study.device) if needs_base else None,
        cost=cost,
    )


def _trained_before(job: Job, cost: Cost) -> Model | None:
    """What a repair mends, and its cost, where a finished run kept just that model."""
    if not job.arm.repair:
        return None
    mended = job.arm.model_copy(update={"repair": None, "settings": {}})
    folder = replace(job, arm=mended).folder
    if not (is_finished(folder) and (folder / "model").is_dir()):
        return None
    for name, value in pd.read_csv(folder / "cost.csv").iloc[0].items():
        setattr(cost, str(name), type(getattr(cost, str(name)))(value))
    return load_model(str(folder / "model"), device=job.study.device, dtype=job.study.dtype)


def _repaired(job: Job, start: Model, tuned: Model) -> pd.DataFrame:
    """The repair's path, from the whole of it to none, in place of a training's steps.

    Step 0 is the start, which losses are measured from.
    """
    path = [(0, start)]
    last = max(1, len(job.evaluated) - 1)
    for place, step in enumerate(job.evaluated):
        repair = named_repair(
            str(job.arm.repair), job.arm.settings, place / last, job.split.others
        )
        path.append((step, repair.repair(start, tuned)))
    return pd.concat(
        [
            ask_set(model, name, facts, step)
            for step, model in path
            for name, facts in job.sets.items()
        ],
        ignore_index=True,
    )


def _carried_on(job: Job, table: pd.DataFrame) -> pd.DataFrame:
    """A run that stopped early stands where it stopped at all steps that it has not seen."""
    last = int(table["step"].max())
    unseen = sorted(set(job.evaluated) - set(table["step"]))
    ends = [table[table["step"] == last].assign(step=step) for step in unseen]
    table = pd.concat([table, *ends], ignore_index=True)
    return table[table["step"].isin({0, *job.evaluated})]


def _outcomes(job: Job, table: pd.DataFrame, start: Model, tuned: Model) -> pd.DataFrame:
    """What was asked during training, and at the end responses and a paraphrase.

    `confidence`: the probability of what was said to the held-out facts, at start and end.
    """
    if len(job.split.unknown):
        asked = ask(tuned, job.split.unknown, paraphrase=True, sampling=False)
        paraphrased = {
            "step": job.steps,
            "set": "unknown_paraphrase",
            "fact": job.split.unknown.ids,
            "answer": [fact.answer for fact in job.split.unknown],
            "right": asked.right,
            "logprob": asked.logprob,
        }
        table = pd.concat([table, pd.DataFrame(paraphrased)])
    held_out = job.split.held_out
    table = table.assign(confidence=float("nan"))
    for step, model in ((0, start), (job.steps, tuned)):
        said = confidence(model, held_out)
        asked = (table["step"] == step) & (table["set"] == "held_out")
        sure = dict(zip(held_out.ids, said.probability, strict=True))
        table.loc[asked, "confidence"] = table.loc[asked, "fact"].map(sure)
        if model is tuned:
            words = dict(zip(held_out.ids, said.responses, strict=True))
            table["response"] = table["fact"].where(asked).map(words)
    return table.assign(epoch=table["step"] / job.steps_an_epoch)


def _ranks(job: Job, start: Model, tuned: Model) -> pd.DataFrame:
    ranked: dict[str, Any] = {"fact": job.split.held_out.ids}
    for name, model in (("start", start), ("end", tuned)):
        ranked[name] = answer_ranks(model, job.split.held_out, job.candidates)
    return pd.DataFrame(ranked)


def _drift(job: Job, model: Model, path: Path) -> pd.DataFrame:
    kept = job.study.record
    record(model, job.split.held_out, path, hooks=kept.hooks, positions=kept.positions)
    found = _compare(job, path)
    path.unlink()
    return found


def _compare(job: Job, path: Path) -> pd.DataFrame:
    tables = []
    for name, reference in job.references.items():
        tables.append(drift_table(reference, path).assign(reference=name))
    return pd.concat(tables)
