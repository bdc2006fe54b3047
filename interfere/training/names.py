"""Mitigations by the names that studies and the command line call them."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from interfere.errors import InputError
from interfere.training.ewc import EWC
from interfere.training.freezing import Freezing
from interfere.training.gradient_projection import GradientProjection
from interfere.training.known_patch import KnownPatch
from interfere.training.l2_anchor import L2Anchor
from interfere.training.lora import LoRA
from interfere.training.mitigation import Mitigation
from interfere.training.replay import Replay
from interfere.training.self_distillation import SelfDistillation
from interfere.training.stability_stopping import StabilityStopping
from interfere.training.targeted_distillation import TargetedDistillation

MITIGATIONS: dict[str, Callable[..., Mitigation]] = {
    "self-distillation": SelfDistillation,
    "targeted-distillation": TargetedDistillation,
    "attention-only": partial(Freezing, "attention"),
    "ffn-only": partial(Freezing, "ffn"),
    "freezing": Freezing,
    "l2-anchor": L2Anchor,
    "ewc": EWC,
    "replay": Replay,
    "known-patch": KnownPatch,
    "lora": LoRA,
    "gradient-projection": GradientProjection,
    "stability-stopping": StabilityStopping,
}
"""Call with the mitigation's own settings as keywords; plain fine-tuning has none."""


def named_mitigation(
    name: str | None, settings: Mapping[str, Any], *, seed: int = 0
) -> Mitigation | None:
    """The mitigation of this name with these settings; None for plain fine-tuning.

    `seed`: of what the mitigation draws, where the settings give none.

    Raises:
        InputError: an unknown name, or a setting that the mitigation doesn't have or take.
    """
    if name is None:
        if settings:
            raise InputError(f"plain fine-tuning has no setting {next(iter(settings))!r}")
        return None
    if name not in MITIGATIONS:
        near = difflib.get_close_matches(name, MITIGATIONS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            f"no mitigation {name!r}; {hint}there are {', '.join(MITIGATIONS)}"
        )
    made = MITIGATIONS[name]
    drawn = {"seed": seed} if "seed" in inspect.signature(made).parameters else {}
    try:
        return made(**{**drawn, **settings})
    except TypeError as error:
        raise InputError(f"{name}: {error}; its fields are in its documentation") from None
