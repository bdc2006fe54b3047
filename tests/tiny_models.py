"""Tiny randomly initialised models, one an architecture, and a tokenizer of their own."""

import functools

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from interfere.facts import questions
from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames
from interfere.models.model import Model

_WIDE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
_GROUPED = _WIDE | {"num_key_value_heads": 2}

CONFIGS: dict[str, tuple[type[PreTrainedConfig], dict[str, int]]] = {
    "llama": (LlamaConfig, _GROUPED),
    "qwen2": (Qwen2Config, _GROUPED),
    "qwen3": (Qwen3Config, _GROUPED | {"head_dim": 24}),
    "mistral": (MistralConfig, _GROUPED | {"sliding_window": 16}),
    "phi3": (Phi3Config, _GROUPED),
    "gpt2": (GPT2Config, {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 128}),
    "neox": (GPTNeoXConfig, _WIDE),
    "gemma2": (Gemma2Config, _GROUPED | {"head_dim": 24, "sliding_window": 16}),
    "olmo2": (Olmo2Config, _GROUPED),
}


@functools.cache
def places() -> FactSet:
    """The fifty largest unambiguous cities, each with its country."""
    return geonames(["P17"], limit=50)


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 500 tokens, trained on the places' questions."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [questions.prompt(fact) + questions.target(fact.answer) for fact in places()]
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )


def tiny_model(architecture: str = "llama", *, seed: int = 0, **changes: object) -> Model:
    """Random weights, the same for a seed; `changes` go into the configuration."""
    kind, sizes = CONFIGS[architecture]
    words = tokenizer()
    end = words.eos_token_id
    config = kind(
        **{
            "vocab_size": len(words),
            "bos_token_id": end,
            "eos_token_id": end,
            "pad_token_id": end,
            "attn_implementation": "eager" if architecture == "gemma2" else "sdpa",
        }
        | sizes
        | changes
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(config)
        for value in network.parameters():
            # Norms start at one and biases at zero: that would hide a hook set beside them.
            value.data += 0.1 * torch.randn_like(value)
    return Model(f"tiny-{architecture}", network.eval(), words)


def shaken(seed: int, size: float) -> Model:
    """The tiny model with noise on all its weights."""
    model = tiny_model().copy("shaken")
    noise = torch.Generator().manual_seed(seed)
    for value in model.network.parameters():
        value.data += size * torch.randn(value.shape, generator=noise)
    return model
