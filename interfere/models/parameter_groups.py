"""Which part of the network a parameter belongs to."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from transformers import PreTrainedModel

GROUPS = {
    "attention": ("*.self_attn.*", "*.attn.*", "*.attention.*"),
    "ffn": ("*.mlp.*", "*.feed_forward.*", "*.fc1.*", "*.fc2.*"),
}
"""Parameter names by group, in Llama, Qwen, Gemma, OLMo, GPT-2, GPT-NeoX and OPT."""

COMPONENTS = ("attention", "ffn", "embeddings", "head", "norms", "other")
"""Every parameter is in one; biases go with the weights that they stand beside."""


def components(network: PreTrainedModel) -> dict[str, str]:
    """Each parameter's component, by its name in `named_parameters`.

    Norms inside attention are norms. An unembedding that is tied to the embeddings is in
    `embeddings`: one matrix has one gradient, of both its uses; `head` is then empty.
    """
    head = network.get_output_embeddings()
    found: dict[str, str] = {}
    for path, module in network.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            found[f"{path}.{name}" if path else name] = _component(path, module, head)
    return {name: found[name] for name, _ in network.named_parameters()}


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether a parameter's name fits any of the globs."""
    return any(fnmatchcase(name, glob) for glob in globs)


def _component(path: str, module: nn.Module, head: nn.Module) -> str:
    if "Norm" in type(module).__name__:
        return "norms"
    if isinstance(module, nn.Embedding):
        return "embeddings"
    if module is head:
        return "head"
    inside = (group for group, globs in GROUPS.items() if matches(f"{path}.", globs))
    return next(inside, "other")
