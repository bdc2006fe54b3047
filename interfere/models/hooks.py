"""A network's activations under TransformerLens' names, by plain forward hooks."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.architectures import architecture

IN_BLOCK = ("attn.hook_z", "hook_attn_out", "hook_mlp_out", "hook_out")
"""What each block offers: the heads' outputs, what attention and MLP add, the sum."""

See = Callable[[str, Tensor], None]
"""Called with a hook's name and its activation: [batch, tokens, d], hook_z with heads."""


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
    """Of one token's activation at a hook: (d,), for hook_z (heads, d_head)."""
    config = network.config
    if not name.endswith("attn.hook_z"):
        return (config.hidden_size,)
    heads = config.num_attention_heads
    return (heads, getattr(config, "head_dim", None) or config.hidden_size // heads)


@contextmanager
def watching(network: PreTrainedModel, names: Sequence[str], see: See) -> Iterator[None]:
    """While the block runs, every forward pass shows these hooks' activations to `see`.

    The network computes what it would without; `see` must copy what it keeps.
    """
    with ExitStack() as hooks:
        for name in names:
            hooks.enter_context(_hook(network, name, see))
        yield


def _hook(network: PreTrainedModel, name: str, see: See) -> Any:
    places = architecture(network)
    if name == "ln_final.hook_out":
        return _after(network.get_submodule(places.final_norm), name, see)
    _, layer, what = name.split(".", 2)
    block = network.get_submodule(f"{places.blocks}.{layer}")
    if what == "attn.hook_z":
        heads = shape(network, name)
        return _before(block.get_submodule(places.projection), name, heads, see)
    inside = {"hook_attn_out": places.attention, "hook_mlp_out": places.mlp, "hook_out": ""}
    return _after(block.get_submodule(inside[what]), name, see)


def _after(module: nn.Module, name: str, see: See) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        see(name, output[0] if isinstance(output, tuple) else output)

    return module.register_forward_hook(hook)


def _before(module: nn.Module, name: str, heads: tuple[int, ...], see: See) -> Any:
    def hook(module: nn.Module, args: Any) -> None:
        see(name, args[0].unflatten(-1, heads))

    return module.register_forward_pre_hook(hook)
