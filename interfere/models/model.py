"""A language model in hand: network, tokenizer, and a name for its weights."""

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interfere import cache
from interfere.errors import InputError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Model:
    """A causal language model and its tokenizer."""

    name: str
    """What it was loaded as, or what made it; for people, never compared."""
    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def device(self) -> torch.device:
        """Where the network's first parameter lies."""
        return next(self.network.parameters()).device

    @property
    def layers(self) -> int:
        """How many blocks the network has."""
        return int(self.network.config.num_hidden_layers)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over the weights as they are now.

        Shared tensors count once. Reads every weight: keep the result if you need it twice.
        """
        whole, seen = hashlib.sha256(), set()
        for name, value in sorted(self.network.state_dict(keep_vars=True).items()):
            place = (value.data_ptr(), value.shape, value.stride())
            if place in seen and value.numel():
                continue
            seen.add(place)
            whole.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            raw = value.detach().cpu().contiguous().view(-1).view(torch.uint8)
            whole.update(raw.numpy().data)
        return whole.hexdigest()[:16]

    @property
    def tokenizer_digest(self) -> str:
        """16 hexadecimal digits that name the tokenizer's vocabulary, merges and rules."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            text = repr(sorted(self.tokenizer.get_vocab().items()))
        else:
            rules = json.loads(backend.to_str())
            # How the last call padded and cut, which is no part of what the tokenizer is.
            text = json.dumps(rules | {"padding": None, "truncation": None}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def copy(self, name: str | None = None) -> "Model":
        """A twin that shares nothing with this model but the tokenizer."""
        return Model(name or self.name, copy.deepcopy(self.network), self.tokenizer)

    def save(self, folder: str | Path) -> Path:
        """Write a Hugging Face folder (safetensors), whole or not at all.

        Raises:
            InputError: the folder can't be written.
        """
        target = Path(folder)
        try:
            with cache.whole_folder(target) as draft:
                self.network.save_pretrained(draft)
                self.tokenizer.save_pretrained(draft)
        except SafetensorError as error:  # a full disk, too
            raise InputError(f"cannot write {target}: {error}") from error
        return target

    def hooked(self) -> "TransformerBridge":
        """TransformerLens' bridge over a copy: the bridge rewrites the model it wraps."""
        from transformer_lens.model_bridge import TransformerBridge

        twin = copy.deepcopy(self.network)
        if not twin.config.architectures:
            twin.config.architectures = [type(twin).__name__]
        # The bridge gives its tokenizer a start token and reloads by name one without.
        words = copy.deepcopy(self.tokenizer)
        words.init_kwargs |= {"add_bos_token": True, "name_or_path": ""}
        return TransformerBridge.boot_transformers(
            "local",
            hf_model=twin,
            tokenizer=words,
            device=str(twin.device),
            dtype=twin.dtype,
        )
