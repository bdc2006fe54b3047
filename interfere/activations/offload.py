"""Bring tensors to the host while the device goes on computing."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Arrived = Callable[[], dict[str, Tensor]]
"""Waits for the copies and gives them."""


class Offload:
    """Copies of one device's tensors; on the host itself nothing is copied."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def start(self, tensors: Mapping[str, Tensor]) -> Arrived:
        """Begin to copy; the tensors may be dropped, but not changed, from now on."""
        if self._stream is None:
            there = {name: tensor.cpu() for name, tensor in tensors.items()}
            return lambda: there
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        host: dict[str, Tensor] = {}
        with torch.cuda.stream(self._stream):
            for name, tensor in tensors.items():
                # Only pinned memory is copied to while the device computes.
                page = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                host[name] = page.copy_(tensor, non_blocking=True)
                tensor.record_stream(self._stream)
        copied = self._stream.record_event()

        def arrived() -> dict[str, Tensor]:
            copied.synchronize()
            return host

        return arrived
