"""Weights that are seldom needed, in files until they are."""

import os
import tempfile
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel


def park(network: PreTrainedModel) -> None:
    """Move a network's weights from memory to temporary files that are mapped in their place.

    They stay what they were: the operating system reads what is used, and takes the memory
    back when it needs it. One at a time, so that no second copy is made; what the disk has no
    room for stays in memory. The head's stay, and an embedding that is tied to them. Nothing
    is moved from a device's own memory, nor on Windows, where a mapped file can't be deleted.
    Point TMPDIR to a disk: where it lies in memory itself, nothing is won.

    Args:
        network: that nobody else holds.
    """
    if os.name == "nt":
        return
    head = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    kept = {parameter.data_ptr() for parameter in head.parameters()}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for parameter in network.parameters():
                plain = type(parameter) is nn.Parameter and parameter.device.type == "cpu"
                if plain and parameter.data_ptr() not in kept:
                    path = Path(folder) / "weight.pt"
                    torch.save(parameter.data, path)
                    parameter.data = torch.load(path, mmap=True, weights_only=True)
                    path.unlink()
    except (OSError, RuntimeError):
        return  # no room, no folder, or no map: torch raises both kinds
