"""Put other activations in a network's place while it runs, by plain forward hooks."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.alone import alone
from interfere.models.hooks import MASS, Change, attach, hook_names, shape, unknown


@dataclass(frozen=True)
class Patch:
    """What one hook shows at n tokens of a batch, instead of what the network computes."""

    rows: Int[Tensor, " n"]
    """Of the batch."""
    tokens: Int[Tensor, " n"]
    """Token indices in these rows, counted in what runs."""
    values: Float[Tensor, "n ..."]
    """What `hooks.shape` says of the hook; of one head [n, d_head]. Taken to the network's
    own type and device."""
    head: int | None = None
    """Of `attn.hook_z`: the head to replace; None: all of them."""


@contextmanager
def patching(network: PreTrainedModel, patches: Mapping[str, Patch]) -> Iterator[None]:
    """While the block runs, every forward pass goes on with these activations.

    The counterpart of `hooks.watching`. All else is left as it is: what comes behind a
    patch is computed from it, other tokens and hooks are not touched. Every forward pass
    inside must be of the batch that the patches were made for.

    Args:
        network: of a supported architecture.
        patches: by hook, as `hook_names` gives them.

    Raises:
        InputError: a hook that is not there or can't be replaced (the attention to the
            subject), values of another shape, a head of another hook or out of range; in
            the forward pass, rows or tokens that the batch does not have.
    """
    names = [name for name in hook_names(network) if not name.endswith(MASS)]
    with alone(network), ExitStack() as hooks:
        for name, patch in patches.items():
            if name not in names:
                raise unknown("hook that can be replaced", name, names)
            _check(patch, name, shape(network, name))
            hooks.enter_context(attach(network, name, _put(patch)))
        yield


def _check(patch: Patch, name: str, token: tuple[int, ...]) -> None:
    if patch.head is not None:
        if len(token) != 2 or not 0 <= patch.head < token[0]:
            heads = f"heads 0 to {token[0] - 1}" if len(token) == 2 else "no heads"
            raise InputError(f"{name} has {heads}, but head {patch.head} is to be replaced")
        token = token[1:]
    n = len(patch.rows)
    if len(patch.tokens) != n or patch.values.shape != (n, *token):
        raise InputError(
            f"{name}: {n} rows and {len(patch.tokens)} tokens need values of shape "
            f"{(n, *token)}, got {tuple(patch.values.shape)}"
        )


def _put(patch: Patch) -> Change:
    def change(name: str, activation: Tensor) -> Tensor:
        rows, tokens = (at.to(activation.device) for at in (patch.rows, patch.tokens))
        for at, size, what in zip(
            (rows, tokens), activation.shape, ("row", "token"), strict=False
        ):
            outside = at[(at < 0) | (at >= size)]
            if len(outside):
                raise InputError(
                    f"{name}: {what} {int(outside[0])} is to be replaced, but the batch "
                    f"has {what}s 0 to {size - 1}"
                )
        changed = activation.clone()
        place = (rows, tokens) if patch.head is None else (rows, tokens, patch.head)
        changed[place] = patch.values.to(changed)
        return changed

    return change
