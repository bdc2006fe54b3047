"""End training on facts that the model knows."""

from dataclasses import dataclass
from typing import Literal

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.training.mitigation import AddedRows, Start
from interfere.training.rows import FactRows


@dataclass(frozen=True)
class KnownPatch:
    """Trains on further Known facts last: `share` as many as there are training rows.

    They stand for as many rows of the last epoch, so the number of steps is that without.
    order="shuffled" is the control: the same facts in place of the same rows, at random
    places of that epoch.

    Cost: none. Known to fail: a few steps mend the format and the common answers; what was
    overwritten needs more.

    Raises:
        InputError: a share not in (0, 1], or an order that doesn't exist.

    Source: KnownPatch, arXiv 2511.02626 (5 to 20 %).
    """

    share: float = 0.1
    order: Literal["end", "shuffled"] = "end"
    facts: FactSet | None = None
    """None: those that this training may spend."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"share must be above 0 and at most 1, got {self.share}")
        if self.order not in ("end", "shuffled"):
            raise InputError(f"order must be 'end' or 'shuffled', got {self.order!r}")

    def added_rows(self, start: Start) -> AddedRows:
        """The patch.

        Raises:
            InputError: fewer facts than the share asks for.
        """
        facts = start.old_facts("KnownPatch", self.facts)
        wanted = max(1, round(self.share * len(start.rows)))
        if wanted > len(facts):
            raise InputError(
                f"a patch of {self.share:.0%} of {len(start.rows)} rows needs {wanted} Known "
                f"facts, there are {len(facts)}"
            )
        rows = FactRows(facts[:wanted], start.model("KnownPatch").tokenizer)
        return AddedRows([rows[i] for i in range(wanted)], last=self.order)
