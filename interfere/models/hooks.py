"""A network's activations under TransformerLens' names, by plain forward hooks."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from threading import get_ident
from typing import Any

from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.alone import alone
from interfere.models.architectures import architecture
from interfere.models.subject_mass import See, watching_mass

MASS = "attn.hook_subject_mass"
"""Not TransformerLens' own: `attn.hook_pattern`, summed over the subject's tokens."""

Change = Callable[[str, Tensor], Tensor | None]
"""Called with a hook's name and its activation; gives what to go on with, None for the
same."""

IN_BLOCK = (MASS, "attn.hook_z", "hook_attn_out", "hook_mlp_out", "hook_out")
"""What each block offers: the heads' attention to the subject, their outputs, what
attention and MLP add, the sum."""


def hook_names(network: PreTrainedModel) -> list[str]:
    """All names that can be hooked, in the order of the forward pass.

    Raises:
        InputError: an architecture that is not supported.
    """
    architecture(network)
    layers = range(network.config.num_hidden_layers)
    inside = [f"blocks.{layer}.{name}" for layer in layers for name in IN_BLOCK]
    return [*inside, "ln_final.hook_out"]


def canonical(name: str) -> str:
    """The name or pattern with TransformerLens' alias of `hook_out` undone."""
    return name.removesuffix("hook_resid_post") + "hook_out" * name.endswith(
        "hook_resid_post"
    )


def bridge_name(name: str) -> str:
    """TransformerLens' hook that a name of ours is, or is computed from."""
    return name.removesuffix(MASS) + "attn.hook_pattern" if name.endswith(MASS) else name


def resolve(network: PreTrainedModel, patterns: str | Sequence[str]) -> list[str]:
    """The hooks that any of the names or glob patterns means, in forward order.

    Raises:
        InputError: a pattern without a match (near misses are named), or no pattern.
    """
    names = hook_names(network)
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    if not wanted:
        raise InputError("no hooks are named; the default is 'blocks.*.hook_out'")
    chosen: set[str] = set()
    for pattern in wanted:
        matches = [name for name in names if fnmatchcase(name, canonical(pattern))]
        if not matches:
            raise unknown("hook", pattern, names)
        chosen.update(matches)
    return [name for name in names if name in chosen]


def unknown(kind: str, name: str, known: Sequence[str]) -> InputError:
    """The error for a name that is none of the known ones, with its near misses."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    some = near or [*known[:3], *known[-1:]]
    listed = ", ".join(dict.fromkeys(some))
    return InputError(
        f"no {kind} is named {name!r}; {'near it are' if near else 'there are'} {listed}"
    )


def shape(network: PreTrainedModel, name: str) -> tuple[int, ...]:
    """Of one token's activation: (d,), hook_z (heads, d_head), hook_subject_mass (heads,)."""
    config = network.config
    heads = config.num_attention_heads
    if name.endswith(MASS):
        return (heads,)
    if not name.endswith("attn.hook_z"):
        return (config.hidden_size,)
    return (heads, getattr(config, "head_dim", None) or config.hidden_size // heads)


@contextmanager
def watching(
    network: PreTrainedModel,
    names: Sequence[str],
    see: See,
    *,
    subject: Bool[Tensor, "b t"] | None = None,
) -> Iterator[None]:
    """While the block runs, every forward pass shows these hooks' activations to `see`.

    The network computes what it would without; `see` must copy what it keeps.

    Args:
        network: of a supported architecture.
        names: as `hook_names` gives them.
        see: called with a hook's name and its activation, [batch, tokens, …] where … is
            what `shape` says.
        subject: True at the subject's tokens, in the rows that will run; needed for
            `attn.hook_subject_mass` alone.

    Raises:
        InputError: `attn.hook_subject_mass` where attention shows no weights.
    """
    masses = {_attention(network, name): name for name in names if name.endswith(MASS)}
    owner = get_ident()

    def see_own(name: str, activation: Tensor) -> None:
        if get_ident() == owner:  # another thread may run the network meanwhile
            see(name, activation)

    with alone(network), ExitStack() as hooks:
        for name in names:
            if name not in masses.values():
                hooks.enter_context(attach(network, name, see_own))
        if masses:
            assert subject is not None, "the mass on the subject needs to know its tokens"
            hooks.enter_context(watching_mass(network, masses, subject, see_own))
        yield


def attach(network: PreTrainedModel, name: str, change: Change) -> Any:
    """Forward passes go on with what `change` gives; the handle ends it (`remove`, `with`).

    For every hook but `attn.hook_subject_mass`, which is computed and goes nowhere.
    """
    places = architecture(network)
    if name == "ln_final.hook_out":
        return _after(network.get_submodule(places.final_norm), name, change)
    block, what = _block(network, name), name.split(".", 2)[2]
    if what == "attn.hook_z":
        heads = shape(network, name)
        return _before(block.get_submodule(places.projection), name, heads, change)
    inside = {"hook_attn_out": places.attention, "hook_mlp_out": places.mlp, "hook_out": ""}
    return _after(block.get_submodule(inside[what]), name, change)


def _block(network: PreTrainedModel, name: str) -> nn.Module:
    return network.get_submodule(f"{architecture(network).blocks}.{name.split('.')[1]}")


def _attention(network: PreTrainedModel, name: str) -> nn.Module:
    projection = architecture(network).projection
    return _block(network, name).get_submodule(projection.rpartition(".")[0])


def _after(module: nn.Module, name: str, change: Change) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, tuple):
            return change(name, output)
        changed = change(name, output[0])
        return None if changed is None else (changed, *output[1:])

    return module.register_forward_hook(hook)


def _before(module: nn.Module, name: str, heads: tuple[int, ...], change: Change) -> Any:
    def hook(module: nn.Module, args: Any) -> Any:
        changed = change(name, args[0].unflatten(-1, heads))
        return None if changed is None else (changed.flatten(-2), *args[1:])

    return module.register_forward_pre_hook(hook)
