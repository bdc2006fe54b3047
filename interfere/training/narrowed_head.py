"""The unembedding, only at the positions that a loss needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedModel


@contextmanager
def narrowed_head(
    network: PreTrainedModel, keep: Bool[Tensor, "rows tokens"]
) -> Iterator[list[Tensor]]:
    """Within the block, `network(…).logits` is `[kept, vocabulary]`: a row a kept position.

    Yields a list to which each forward adds its last hidden states, `[rows, tokens, d]`, of
    all positions. A hook, and not a call of the body, so that wrappers (DDP, autocast) and
    whatever the architecture does to its logits stay in force.
    """
    seen: list[Tensor] = []

    def narrow(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        seen.append(inputs[0])
        return (inputs[0][keep],)

    handle = network.get_output_embeddings().register_forward_pre_hook(narrow)
    try:
        yield seen
    finally:
        handle.remove()
