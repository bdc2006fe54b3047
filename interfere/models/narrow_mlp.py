"""A block's MLP run on the tokens whose outcome is kept, and on no others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedModel

from interfere.models.architectures import architecture


@contextmanager
def mlp_on(
    network: PreTrainedModel, layer: int, wanted: Bool[Tensor, "b t"]
) -> Iterator[None]:
    """While the block runs, what this block's MLP adds is right at the wanted tokens alone.

    Meant for the last block that is looked at: later ones would attend to wrong tokens.
    Enter it before other hooks on the same MLP, so that these see tokens in their places.
    """
    places = architecture(network)
    mlp = network.get_submodule(f"{places.blocks}.{layer}.{places.mlp}")

    def narrow(module: nn.Module, args: Any) -> Any:
        return (args[0][wanted], *args[1:])

    def widen(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        whole = output.new_zeros((*wanted.shape, output.shape[-1]))
        whole[wanted] = output
        return whole

    with mlp.register_forward_pre_hook(narrow), mlp.register_forward_hook(widen):
        yield
