"""What an experiment is: one configuration, read from YAML."""

import contextlib
import difflib
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from interfere.errors import InputError

Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""What every library's generator takes."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Facts(_Section):
    """Which facts the study asks."""

    source: str = Field("geonames", description="a source's name, a folder or a file")
    relations: tuple[str, ...] = Field(("P17",), description="Wikidata properties")
    limit: int | None = Field(
        None, ge=1, description="facts a relation, most popular first"
    )
    columns: dict[str, str] | None = Field(
        None, description="field → column of a facts file"
    )
    exposures: tuple[Literal["questions", "statements", "never"], ...] | None = Field(
        None,
        description="of nano's ground truth, the facts to study; the rest may be exemplars",
    )


class Categorise(_Section):
    """How the model's knowledge is found out (SLiCK)."""

    method: Literal["exact", "sampling"] = Field(
        "exact", description="closed form or sampling"
    )
    prompts: int = Field(10, ge=1, description="few-shot prompts a fact")
    shots: int = Field(4, ge=1, description="exemplars a prompt")
    seed: Seed = Field(0, description="of the exemplars")


class Split(_Section):
    """How many facts of each kind; `seed` is the results' split_seed."""

    known: int = Field(600, ge=1, description="facts; HighlyKnown, trained on")
    unknown: int = Field(600, ge=1, description="facts; strictly Unknown, trained on")
    validation: int = Field(
        0, ge=0, description="facts; HighlyKnown, for choosing settings"
    )
    held_out: int = Field(600, ge=1, description="facts; HighlyKnown, never trained on")
    control: int = Field(200, ge=0, description="length-matched hexadecimal subjects")
    cap: int | None = Field(None, ge=1, description="facts an answer in each set")
    seed: Seed = Field(0, description="of the draw")


class Training(_Section):
    """One fine-tuning."""

    epochs: float = Field(24, gt=0, description="passes over the arm's rows")
    learning_rate: float = Field(1e-4, gt=0, description="peak, AdamW")
    batch_size: int = Field(32, ge=1, description="rows a step")
    bf16: bool = Field(False, description="bfloat16 autocast over float32 master weights")


class Evaluation(_Section):
    """When and what is asked during training."""

    points: int = Field(
        12, ge=1, description="evaluations a run, evenly spaced, end included"
    )
    early: tuple[float, ...] = Field((1.0,), description="further evaluations, in epochs")
    sets: tuple[Literal["known", "unknown", "validation", "held_out"], ...] = Field(
        ("known", "unknown", "validation", "held_out"), description="what is asked"
    )
    drift_epochs: tuple[float, ...] = Field(
        (), description="epochs whose drift is measured"
    )
    rank_among: int = Field(
        50, ge=0, description="commonest answers that an answer is ranked in"
    )


class Recording(_Section):
    """Which activations are kept."""

    hooks: tuple[str, ...] = Field(("blocks.*.hook_out",), description="names or patterns")
    positions: tuple[str, ...] = Field(
        ("subject_last", "prompt_last", "answer_first"), description="positions kept"
    )


class Interference(_Section):
    """Where representational interference is read, declared before the run."""

    hook: str | None = Field(None, description="None: the middle layer, blocks[n // 2]")
    position: str = Field("subject_last", description="one of the recording's positions")
    rank: int = Field(16, ge=1, description="of the principal subspaces")


class Arm(_Section):
    """One training condition."""

    name: str = Field(description="shown in tables and figures")
    rows: Literal["known+unknown", "known"] = Field(
        "known+unknown", description="trained on"
    )
    keys: Literal["natural", "semantic", "hex", "uuid"] = Field(
        "natural", description="subjects of the Unknown facts"
    )
    mitigation: str | None = Field(None, description="a name in interfere.training")
    repair: str | None = Field(
        None,
        description="a name in interfere.interventions: what mends the model afterwards; "
        "its evaluations go from the repair in full to the tuned model, not by step",
    )
    settings: dict[str, Any] = Field(
        {}, description="the mitigation's fields, or the repair's"
    )
    learning_rate: float | None = Field(None, gt=0, description="None: the study's")
    sweep: dict[str, tuple[Any, ...]] = Field(
        {},
        description="values by setting (or learning_rate), all combinations of which are "
        "tried on validation facts",
    )

    @property
    def trains_new(self) -> bool:
        """Whether the arm learns new facts."""
        return self.rows == "known+unknown"


def plain_control(arm: Arm) -> bool:
    """Whether the arm is the Known-only control: no new facts, and nothing added."""
    return not arm.trains_new and arm.mitigation is None and arm.repair is None


def plain_sft(arm: Arm) -> bool:
    """Whether the arm learns new facts with nothing added."""
    return arm.trains_new and arm.mitigation is None and arm.repair is None


class Selection(_Section):
    """How settings are chosen on validation facts, for arms with a sweep."""

    seeds: tuple[Seed, ...] = Field(
        (1000,), min_length=1, description="of the runs that only choose"
    )
    level: float = Field(
        0.9, gt=0, le=1, description="plasticity at which net losses are compared"
    )


class LeavingOut(_Section):
    """How `interfere measure` retrains without the new facts that are blamed."""

    share: float = Field(0.2, gt=0, lt=1, description="of the new facts, left out")
    draws: int = Field(
        19, ge=1, description="random sets a seed; the smallest p is 1 / (draws + 1)"
    )
    seeds: int = Field(
        2, ge=1, description="of the study's, the first; each costs a run for every set"
    )


class Architecture(_Section):
    """The network's published sizes: what a dry run reckons with, since it loads nothing."""

    parameters: int = Field(gt=0, description="all weights, shared ones once")
    layers: int = Field(gt=0, description="blocks")
    hidden: int = Field(gt=0, description="width of the residual stream")
    vocabulary: int = Field(gt=0, description="tokens")


class Study(_Section):
    """An experiment: model, facts, arms, seeds, and what is measured."""

    name: str = Field(pattern=r"^\w[\w .+-]*$", description="of its results folder")
    model: str = Field("nano", description="as load_model takes it")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of the weights")
    device: str | None = Field(None, description="None: a GPU if there is one")
    architecture: Architecture | None = Field(None, description="for dry runs")
    facts: Facts = Facts()
    categorise: Categorise = Categorise()
    split: Split = Split()
    format: Training = Field(Training(epochs=2), description="of the format checkpoint")
    train: Training = Field(Training(), description="of every arm")
    evaluate: Evaluation = Evaluation()
    record: Recording = Recording()
    interference: Interference = Interference()
    arms: tuple[Arm, ...] = Field(
        min_length=1, description="the first one without a mitigation is plain SFT"
    )
    seeds: tuple[Seed, ...] = Field(
        (0, 1, 2), min_length=1, description="order, synthetic keys"
    )
    select: Selection = Selection()
    leave_out: LeavingOut = LeavingOut()
    keep_weights: bool = Field(False, description="save what each run trained, as a folder")
    workers: int | None = Field(None, ge=1, description="runs at once; None: one a core")

    @field_validator("arms")
    @classmethod
    def _named_once(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        """Tables and figures know an arm by its name alone."""
        if twice := _twice(arm.name for arm in arms):
            raise ValueError(f"two arms are named {twice[0]!r}")
        return arms

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if twice := _twice(seeds):
            raise ValueError(f"the seed {twice[0]} is there twice")
        return seeds

    @model_validator(mode="after")
    def _chosen_on_validation(self) -> "Study":
        swept = [arm.name for arm in self.arms if arm.sweep]
        if swept and not self.split.validation:
            raise ValueError(
                f"the arm {swept[0]!r} has a sweep, but split.validation is 0: there are no "
                "facts to choose settings on"
            )
        if both := [arm.name for arm in self.arms if arm.repair and arm.mitigation]:
            raise ValueError(f"the arm {both[0]!r} has a mitigation and a repair")
        if set(self.select.seeds) & set(self.seeds) and swept:
            raise ValueError("select.seeds must differ from seeds: they only choose")
        return self

    @model_validator(mode="after")
    def _asked(self) -> "Study":
        if missing := {"unknown", "held_out"} - set(self.evaluate.sets):
            raise ValueError(
                f"evaluate.sets leaves out {min(missing)!r}: net loss at matched plasticity "
                "needs both"
            )
        return self

    @model_validator(mode="after")
    def _recorded(self) -> "Study":
        if self.interference.position not in self.record.positions:
            raise ValueError(
                f"interference.position {self.interference.position!r} is not among "
                f"record.positions: {', '.join(self.record.positions)}"
            )
        return self


def plain_arm(study: Study) -> Arm | None:
    """Plain SFT: the first arm that learns new facts with nothing added; None without one."""
    return next((arm for arm in study.arms if plain_sft(arm)), None)


def _twice(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


SECTIONS: dict[str, type[_Section]] = {
    "facts": Facts,
    "categorise": Categorise,
    "split": Split,
    "format": Training,
    "train": Training,
    "evaluate": Evaluation,
    "record": Recording,
    "interference": Interference,
    "arms": Arm,
    "select": Selection,
    "leave_out": LeavingOut,
    "architecture": Architecture,
}
"""By the study's key."""


def presets() -> list[str]:
    """Names of the studies that the package ships."""
    folder = resources.files("interfere.study").joinpath("presets")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())


def load_study(name: str, changes: list[str] | None = None) -> Study:
    """Read a preset or a YAML file, with `a.b=value` changes on top.

    Raises:
        InputError: no such study, a key it doesn't know (the nearest is named), or a
            value out of range.
    """
    content = _read(name)
    for change in changes or []:
        _apply(content, change)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise InputError(f"study {name}: {_explain(error)}") from None


def _read(name: str) -> dict[str, Any]:
    if name in presets():
        preset = resources.files("interfere.study").joinpath(f"presets/{name}.yaml")
        text = preset.read_text("utf-8")
    elif Path(name).suffix in {".yaml", ".yml"} and Path(name).is_file():
        try:
            text = Path(name).read_text("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"study {name}: not a text file in UTF-8") from None
    else:
        near = difflib.get_close_matches(name, presets(), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            f"no study {name!r}; {hint}there are {', '.join(presets())}, or give a .yaml file"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise InputError(f"study {name}{line}: not valid YAML") from None
    if not isinstance(content, dict):
        raise InputError(
            f"study {name}: expected keys and values, got {type(content).__name__}"
        )
    content.setdefault("name", Path(name).stem)
    return content


def _apply(content: dict[str, Any], change: str) -> None:
    path, separator, value = change.partition("=")
    if not separator or not path:
        raise InputError(
            f"--set {change!r}: write it as key=value, such as train.epochs=12"
        )
    *parents, last = path.split(".")
    place: Any = content
    for key in parents:
        step = _key(place, key, change)
        place = place[step] if isinstance(step, int) else place.setdefault(key, {})
        if not isinstance(place, dict | list):
            raise InputError(f"--set {change!r}: {key} holds a value, not keys")
    try:
        parsed = read_value(value)
    except yaml.YAMLError:
        raise InputError(f"--set {change!r}: {value!r} is not valid YAML") from None
    place[_key(place, last, change)] = parsed


def read_value(text: str) -> Any:
    """A value as the command line's `--set` takes it: YAML, and 1e-4 is a number.

    Raises:
        YAMLError: text that is no YAML.
    """
    parsed = yaml.safe_load(text)
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-4 as a word
        with contextlib.suppress(ValueError):
            return float(parsed)
    return parsed


def _key(place: Any, key: str, change: str) -> int | str:
    if not isinstance(place, list):
        return key
    if not key.isdigit() or int(key) >= len(place):
        raise InputError(
            f"--set {change!r}: {key} is not a place in a list of {len(place)}"
        )
    return int(key)


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":  # ours, and a sentence by itself
        return f"{place}: {first['ctx']['error']}" if place else str(first["ctx"]["error"])
    if first["type"] != "extra_forbidden":
        return (
            f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
        )
    known = _fields(first["loc"][:-1])
    near = difflib.get_close_matches(str(first["loc"][-1]), known, 1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown key {place!r}; {hint}there are {', '.join(known)}"


def _fields(path: tuple[int | str, ...]) -> list[str]:
    section: Any = Study
    for part in path:
        if isinstance(part, str):
            section = SECTIONS.get(part, section)
    return list(section.model_fields)
