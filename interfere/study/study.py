"""What an experiment is: one configuration."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""What every library's generator takes."""

How = Literal["all", "climb"]
"""How a sweep's values are tried."""

By = Literal["loss", "area"]
"""What is best among them."""


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
    rate_of: str | None = Field(
        None,
        description="an arm with a sweep, whose chosen learning rate is this one's too",
    )
    sweep: dict[str, tuple[Any, ...]] = Field(
        {},
        description="values by setting (or learning_rate), tried on validation facts as "
        "select.search says; from small to large for a climb",
    )
    against: tuple[str, ...] = Field(
        (), description="arms that contrasts.csv compares it with, beside plain SFT"
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
    by: By = Field(
        "loss",
        description="loss: the least net loss where plasticity first reaches `level`; area: the "
        "largest area under the frontier, which prices every amount learnt",
    )
    level: float = Field(
        0.9, gt=0, le=1, description="plasticity at which net losses are compared"
    )
    search: How = Field(
        "all",
        description="all: every combination of a sweep's values; climb: from the middle of "
        "each list to the best of the neighbours, one value changed at a time, until none is "
        "better",
    )


class LeavingOut(_Section):
    """How `interfere measure` retrains without the new facts that are blamed."""

    share: float = Field(0.2, gt=0, lt=1, description="of the new facts, left out")
    draws: int = Field(
        19, ge=1, description="random sets a seed; the smallest p is 1 / (draws + 1)"
    )
    seeds: int = Field(
        2,
        ge=1,
        description="of the study's, the first (where it has but one: that); each costs a run "
        "for every set",
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

    @field_validator("arms")
    @classmethod
    def _comparable(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        """Two arms are compared at the same amount learnt."""
        for arm in arms:
            others = {o.name for o in arms if o.trains_new and o.name != arm.name}
            if absent := set(arm.against) - (others if arm.trains_new else set()):
                raise ValueError(
                    f"the arm {arm.name!r} is set against {min(absent)!r}: both must learn new "
                    "facts, and be two arms of the study"
                )
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
        for arm in self.arms:
            for key, values in arm.sweep.items():
                _check_list(arm.name, key, values, climbs=self.select.search == "climb")
        rated = {arm.name for arm in self.arms if "learning_rate" in arm.sweep}
        for arm in self.arms:
            if arm.rate_of is None:
                continue
            if arm.rate_of not in rated or arm.learning_rate or arm.sweep:
                raise ValueError(
                    f"the arm {arm.name!r} takes the rate of {arm.rate_of!r}: that must sweep "
                    "learning_rate, and this one must have neither a rate nor a sweep"
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


def ladder(values: tuple[Any, ...]) -> bool:
    """Whether these are numbers from small to large, each once."""
    numbers = all(isinstance(value, int | float) for value in values)
    return numbers and list(values) == sorted(set(values))


def _check_list(arm: str, key: str, values: tuple[Any, ...], *, climbs: bool) -> None:
    if not values:
        raise ValueError(f"the arm {arm!r} sweeps {key} over no values")
    if not climbs:
        return
    if not ladder(values):
        raise ValueError(
            f"the arm {arm!r} sweeps {key} over {list(values)}; a climb needs numbers from "
            "small to large, each once"
        )


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
