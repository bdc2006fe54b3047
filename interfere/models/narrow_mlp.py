"""A block's MLP run on the tokens whose outcome is kept, and on no others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from interfere.models.architectures import architecture


@contextmanager
def mlp_on(
    network: PreTrainedModel, layer: int, wanted: Int[Tensor, " tokens"]
) -> Iterator[None]:
    """While the block runs, what this block's MLP gives is right at the wanted tokens alone.

    Meant for the last block that is looked at: later ones would attend to wrong tokens.
    Enter it before other hooks on the same MLP, so that these see tokens in their places.

    Args:
        network: of a supported architecture.
        layer: of the block.
        wanted: places in the flattened batch, row · length + token, on the network's device:
            to find them there would make the host wait.
    """
    places = architecture(network)
    mlp = network.get_submodule(f"{places.blocks}.{layer}.{places.feed_forward}")
    batch: list[tuple[int, ...]] = []

    def narrow(module: nn.Module, args: Any) -> Any:
        batch.append(args[0].shape[:2])
        return (args[0].flatten(0, 1).index_select(0, wanted), *args[1:])

    def widen(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        rows, length = batch.pop()
        whole = output.new_zeros((rows * length, output.shape[-1]))
        return whole.index_copy_(0, wanted, output).unflatten(0, (rows, length))

    with mlp.register_forward_pre_hook(narrow), mlp.register_forward_hook(widen):
        yield
