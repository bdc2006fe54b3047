"""A few values of every weight: whether a network is the one that it was."""

from hashlib import blake2b

import torch
from transformers import PreTrainedModel

SAMPLED = 64
"""Values of each weight, evenly spaced."""


def fingerprint(network: PreTrainedModel) -> str:
    """A digest of names, shapes, dtypes and some values of the weights; reads no more of them.

    An optimizer step changes nearly every value of a trained weight, so two networks of equal
    fingerprint are equal unless somebody edited single values. LoRA's factors are left out:
    they begin at random, and leave the network as it was.
    """
    found = blake2b(digest_size=16)
    for name, parameter in network.named_parameters():
        if ".lora_" in name:
            continue
        found.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        flat = parameter.detach().flatten()
        every = max(1, flat.numel() // SAMPLED)
        found.update(flat[::every].cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
