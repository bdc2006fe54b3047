"""Weights that are seldom needed, in a file until they are."""

import tempfile
from pathlib import Path

import torch
from transformers import PreTrainedModel


def park(network: PreTrainedModel) -> None:
    """Move all parameters but the head's to a temporary file, mapped into memory.

    They stay what they were: the operating system reads from the file what is used, and
    takes the memory back when it needs it. `network.to(device)` brings them back to another
    device. Without room for the file they stay where they are.

    Args:
        network: that nobody else holds; float weights of any dtype, on any device.
    """
    head = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    kept = {parameter.data_ptr() for parameter in head.parameters()}
    moved = {n: p for n, p in network.named_parameters() if p.data_ptr() not in kept}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "weights.pt"
        try:
            torch.save({name: p.data for name, p in moved.items()}, path)
        except (OSError, RuntimeError):  # what torch raises on a full disk
            return
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    for name, parameter in moved.items():
        parameter.data = found[name]
