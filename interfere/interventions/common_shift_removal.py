"""Take out of a tuned model's states what training added to all old facts alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.questions import prompt
from interfere.models import hooks as hooking
from interfere.models.encoding import encode_prompts
from interfere.models.evaluating import evaluating
from interfere.models.head import body
from interfere.models.model import Model


@dataclass(frozen=True)
class CommonShiftRemoval:
    """Subtracts (1 - share) times the old facts' mean displacement, at one hook, every token.

    The displacement is that of the prompt's last token, where the answer is read. The copy
    that comes back holds the subtraction as a hook: it asks, generates and records, but
    can't be saved. share=1 is the tuned model.

    Cost: no training; a forward of the facts through both models. Known to fail: the shift
    is part of how new facts are answered, which go with it.

    Raises:
        InputError: a share outside [0, 1].

    Source: the common shift of arXiv 2610.08718; there it is subtracted to test, z(t) - c(t).
    """

    facts: FactSet
    share: float = 0.0
    hook: str | None = None
    """None: the middle block's output."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"share must be in [0, 1], got {self.share}")

    def repair(self, before: Model, after: Model) -> Model:
        """A copy; both models stay as they are.

        Raises:
            InputError: no facts, no such hook.
        """
        if not len(self.facts):
            raise InputError("no old facts to measure the common shift on")
        hook = self.hook or f"blocks.{after.layers // 2}.hook_out"
        (hook,) = hooking.resolve(after.network, hook)
        states = [_states(model, self.facts, hook) for model in (before, after)]
        shift = (states[1] - states[0]).mean(0) * (1 - self.share)
        mended = after.copy(f"{after.name}, common shift out")
        hooking.attach(mended.network, hook, _less(shift))
        return mended


def _less(shift: Float[Tensor, " d"]) -> Callable[[str, Tensor], Tensor]:
    def change(name: str, values: Tensor) -> Tensor:
        return values - shift.to(values)

    return change


def _states(model: Model, facts: FactSet, hook: str) -> Float[Tensor, "facts d"]:
    rows = encode_prompts(model.tokenizer, [prompt(fact) for fact in facts])
    found: list[Tensor] = []
    seen: list[Tensor] = []

    def look(name: str, values: Tensor) -> None:
        seen.append(values)

    handle: Any = hooking.attach(model.network, hook, look)
    try:
        with evaluating(model.network), torch.no_grad():
            for start in range(0, len(rows), 32):
                part = [torch.tensor(row) for row in rows[start : start + 32]]
                ids = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)
                body(model.network)(input_ids=ids.to(model.device), use_cache=False)
                last = torch.tensor([len(row) - 1 for row in part])
                states = seen.pop()
                found.append(states[torch.arange(len(part)), last].double())
    finally:
        handle.remove()
    return torch.cat(found)
