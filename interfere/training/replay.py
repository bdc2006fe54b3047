"""Go on training on old facts beside the new ones."""

from dataclasses import dataclass, replace
from typing import Literal

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models.generation import generate
from interfere.models.model import Model
from interfere.training.mitigation import AddedRows, Start
from interfere.training.rows import FactRows


@dataclass(frozen=True)
class Replay:
    """Adds `ratio` rows of old facts beside each row of a batch, in turn.

    The training's own rows come at the same steps as without, so a batch is larger by the
    ratio, and the cross-entropy is averaged over all of it.

    Cost: `ratio` further rows forward and backward a row; for answers="own" one
    generation a fact. Known to fail: it protects what it replays, and what shares an answer
    with it; the rest is forgotten as before.

    Raises:
        InputError: a ratio not above 0, a count below 1, or answers that don't exist.

    Source: arXiv 2503.21676 (ratios), 2609.08067 (popular subjects first).
    """

    ratio: float = 0.5
    facts: FactSet | None = None
    """None: those that this training may spend."""
    answers: Literal["given", "own"] = "given"
    """`own`: what the model says to them before training, right or not."""
    popular_first: bool = False
    """Take the most popular facts, where fewer are taken than there are."""
    count: int | None = None
    """How many facts; None: all."""

    def __post_init__(self) -> None:
        if not self.ratio > 0:
            raise InputError(f"ratio must be above 0, got {self.ratio}")
        if self.count is not None and self.count < 1:
            raise InputError(f"count must be 1 or more, got {self.count}")
        if self.answers not in ("given", "own"):
            raise InputError(f"answers must be 'given' or 'own', got {self.answers!r}")

    def added_rows(self, start: Start) -> AddedRows:
        """The old facts' rows.

        Raises:
            InputError: no facts, no popularity where it is asked for.
        """
        facts, model = start.old_facts("replay", self.facts), start.model("replay")
        if self.popular_first:
            facts = _by_popularity(facts)
        facts = facts[: self.count]
        if self.answers == "own":
            start.cost.asked_rows += len(facts)
            facts = _answered(model, facts)
        rows = FactRows(facts, model.tokenizer)
        return AddedRows([rows[i] for i in range(len(rows))], self.ratio)


def _by_popularity(facts: FactSet) -> FactSet:
    if unknown := [fact for fact in facts if fact.popularity is None]:
        raise InputError(
            f"{facts.source}: the popularity of {unknown[0].subject!r} isn't known; replay "
            "without popular_first"
        )
    order = sorted(facts, key=lambda fact: (-(fact.popularity or 0), fact.id))
    return replace(facts, facts=tuple(order))


def _answered(model: Model, facts: FactSet) -> FactSet:
    said = generate(model, facts)
    kept = tuple(
        replace(fact, answer=answer, aliases=())
        for fact, answer in zip(facts, said, strict=True)
        if answer.strip()
    )
    if not kept:
        raise InputError("the model answers none of the facts to replay")
    return replace(facts, facts=kept)
