"""Which positions of a batch a loss is at."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Int
from torch import Tensor

from interfere.training.rows import IGNORED


def predicting(labels: Int[Tensor, "rows tokens"]) -> Bool[Tensor, "rows tokens"]:
    """Those whose next token is labelled."""
    following = labels[:, 1:] != IGNORED
    return F.pad(following, (0, 1))


def unpadded(batch: Mapping[str, Tensor]) -> Bool[Tensor, "rows tokens"]:
    """Those of a token; all where the batch has no attention mask."""
    mask = batch.get("attention_mask")
    if mask is None:
        return torch.ones_like(batch["input_ids"], dtype=torch.bool)
    return mask.bool()
