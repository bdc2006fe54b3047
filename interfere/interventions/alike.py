"""Two models whose activations can be put in each other's place."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from interfere.errors import InputError
from interfere.models import hooks as hooking
from interfere.models.evaluating import evaluating
from interfere.models.hook_check import check_hooks
from interfere.models.model import Model


@contextmanager
def side_by_side(source: Model, target: Model) -> Iterator[None]:
    """Inside, both are in evaluation mode and nothing is kept for gradients.

    Raises:
        InputError: models of another architecture, size or tokenizer, or on whose
            architecture the hooks are not what they should be.
    """
    if type(source.network) is not type(target.network) or _shapes(source) != _shapes(
        target
    ):
        raise InputError(
            f"{source.name} and {target.name} differ in architecture or size; the "
            "activations of one mean nothing in the other"
        )
    if source.tokenizer_digest != target.tokenizer_digest:
        raise InputError(
            f"{source.name} and {target.name} have different tokenizers; their tokens "
            "can't be laid side by side"
        )
    with ExitStack() as both:
        for model in (source, target):
            check_hooks(model)
            both.enter_context(evaluating(model.network))
        both.enter_context(torch.inference_mode())
        yield


def replaceable(model: Model, hooks: str | Sequence[str]) -> list[str]:
    """The hooks that names or patterns mean, in forward order.

    Raises:
        InputError: none such, or one that can only be looked at.
    """
    names = hooking.resolve(model.network, hooks)
    for name in names:
        if name.endswith(hooking.MASS):
            raise InputError(f"{name} can be recorded, but not replaced; leave it out")
    return names


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    names = hooking.hook_names(model.network)
    return {name: hooking.shape(model.network, name) for name in names}
