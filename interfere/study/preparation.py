"""What every arm of a study shares: facts, knowledge, split, format checkpoint, recordings."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from interfere import cache
from interfere.activations.recorder import record
from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.keys import synthetic_keys
from interfere.facts.load import load_facts
from interfere.knowledge.knowledge import Knowledge
from interfere.knowledge.slick import categorise
from interfere.knowledge.splits import Split
from interfere.models.load import load_model
from interfere.models.model import Model
from interfere.models.nano_world import ground_truth
from interfere.study.manifest import RESULTS_VERSION, finish, is_finished, locked
from interfere.study.study import Arm, Study
from interfere.training.train import format_checkpoint

Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """The common start of all arms."""

    study: Study
    base: Model
    knowledge: Knowledge
    split: Split
    folder: Path
    """The format checkpoint's run: `model/`, and recordings of what it and the base hold."""

    @cached_property
    def start(self) -> Model:
        """The format checkpoint: the teacher, and what "before" means."""
        return load_model(
            str(self.folder / "model"), device=self.study.device, dtype=self.study.dtype
        )

    @property
    def hook(self) -> str:
        """Where representational interference is read."""
        return self.study.interference.hook or f"blocks.{self.base.layers // 2}.hook_out"

    @cached_property
    def _made(self) -> dict[tuple[str, int], FactSet]:
        """Synthetic facts by keys and seed: their names take a while to join."""
        return {}

    @cached_property
    def _recorded(self) -> dict[Path, Recording]:
        """Recordings found or made: to find one, its facts are tokenised again."""
        return {}

    def split_of(self, arm: Arm, seed: int) -> Split:
        """The split with the arm's keys in place of the natural Unknown subjects."""
        if not arm.trains_new:
            return self.split.known_only
        return self.split.with_unknown(self.new_facts(arm.keys, seed))

    def new_facts(self, keys: str, seed: int) -> FactSet:
        """The Unknown facts, asked by their own subjects or by synthetic keys."""
        if keys == "natural":
            return self.split.unknown
        if (keys, seed) not in self._made:
            self._made[keys, seed] = synthetic_keys(
                self.split.unknown,
                keys,  # type: ignore[arg-type]
                self.base.tokenizer,
                seed=seed,
                avoid=self.knowledge.facts,
            )
        return self._made[keys, seed]

    def recording(self, name: str, facts: FactSet, *, of_base: bool = False) -> Recording:
        """The format checkpoint's (or the base's) recording of these facts, made if missing."""
        model = self.base if of_base else self.start
        kept = self.study.record
        asked = [
            facts.digest,
            list(kept.hooks),
            list(kept.positions),
            torch.get_num_threads(),
        ]
        side = "base" if of_base else "start"
        path = self.folder / f"{name}-{side}-{cache.digest(asked)[:8]}.h5"
        if path not in self._recorded:
            self._recorded[path] = record(
                model,
                facts,
                path,
                hooks=kept.hooks,
                positions=kept.positions,
                resume=path.exists(),
            )
        return self._recorded[path]


def prepare(study: Study, say: Say = lambda _: None) -> Prepared:
    """Load, categorise, split, and train the format checkpoint; all of it cached.

    Raises:
        InputError: too few facts of a kind, or anything that loading refuses.
    """
    say(f"loading {study.model}")
    base = load_model(study.model, device=study.device, dtype=study.dtype)
    asked, exemplars = study_facts(study)
    say(f"categorising {len(asked):,} facts")
    options = study.categorise
    knowledge = categorise(
        base,
        asked,
        method=options.method,
        prompts=options.prompts,
        shots=options.shots,
        seed=options.seed,
        exemplars=exemplars,
    )
    sizes = study.split
    split = knowledge.split(
        known=sizes.known,
        unknown=sizes.unknown,
        held_out=sizes.held_out,
        validation=sizes.validation,
        control=sizes.control,
        cap=sizes.cap,
        seed=sizes.seed,
    )
    folder = _format_run(study, base, split, say)
    return Prepared(study, base, knowledge, split, folder)


def study_facts(study: Study) -> tuple[FactSet, FactSet | None]:
    """The facts to study and, where nano's ground truth sets some apart, the exemplars.

    Raises:
        InputError: exposures asked of another model than nano.
    """
    chosen = study.facts
    facts = load_facts(
        chosen.source,
        relations=list(chosen.relations) if chosen.relations else None,
        limit=chosen.limit,
        columns=chosen.columns,
    )
    if chosen.exposures is None:
        return facts, None
    if study.model != "nano":
        raise InputError(
            f"study {study.name}: facts.exposures is known for nano only, not {study.model}"
        )
    truth = dict(ground_truth()[["id", "exposure"]].itertuples(index=False, name=None))
    asked = tuple(fact for fact in facts if truth.get(fact.id) in chosen.exposures)
    # What taught the question's format is spared for exemplars, unless it is studied too.
    spared = {"questions"} - set(chosen.exposures)
    taught = tuple(fact for fact in facts if truth.get(fact.id) in spared)
    return replace(facts, facts=asked), replace(facts, facts=taught) if taught else None


def _format_run(study: Study, base: Model, split: Split, say: Say) -> Path:
    identity = {
        "version": RESULTS_VERSION,
        "weights": base.digest,
        "tokenizer": base.tokenizer_digest,
        "known": split.known.digest,
        "format": study.format.model_dump(),
        "seed": split.seed,
        "threads": torch.get_num_threads(),
        "device": base.device.type,
    }
    folder = cache.home() / "runs" / cache.digest(identity)
    with locked(folder):
        if is_finished(folder):
            return folder
        say("training the format checkpoint")
        options = study.format
        start = format_checkpoint(
            base,
            split,
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            batch_size=options.batch_size,
            seed=split.seed,
            bf16=options.bf16,
        )
        start.save(folder / "model")
        finish(folder, identity)
    return folder
