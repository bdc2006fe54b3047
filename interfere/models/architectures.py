"""Where each supported architecture keeps what is hooked, as paths of its modules."""

from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from interfere.errors import InputError


@dataclass(frozen=True)
class Architecture:
    """Dotted module paths; those from `attention` on lie inside a block."""

    blocks: str
    final_norm: str
    attention: str
    """Its output is what attention adds to the residual stream."""
    mlp: str
    """Its output is what the MLP adds to the residual stream."""
    projection: str
    """Its input is the heads' outputs side by side."""
    feed_forward: str = "mlp"
    """The MLP itself, before any norm behind it."""


_LLAMA = Architecture("model.layers", "model.norm", "self_attn", "mlp", "self_attn.o_proj")
_POST_NORM = replace(
    _LLAMA, attention="post_attention_layernorm", mlp="post_feedforward_layernorm"
)

ARCHITECTURES = {
    "LlamaForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": _LLAMA,
    "Qwen3ForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Phi3ForCausalLM": _LLAMA,
    "Gemma2ForCausalLM": _POST_NORM,
    "Olmo2ForCausalLM": _POST_NORM,
    "GPT2LMHeadModel": Architecture(
        "transformer.h", "transformer.ln_f", "attn", "mlp", "attn.c_proj"
    ),
    "GPTNeoXForCausalLM": Architecture(
        "gpt_neox.layers",
        "gpt_neox.final_layer_norm",
        "attention",
        "mlp",
        "attention.dense",
    ),
}
"""By the network's class. Each is held to TransformerLens' bridge by a test."""


def architecture(network: PreTrainedModel) -> Architecture:
    """The network's entry in `ARCHITECTURES`.

    Raises:
        InputError: an architecture that is not supported.
    """
    name = type(network).__name__
    if name not in ARCHITECTURES:
        raise InputError(
            f"{name} is not supported for recording; supported are "
            f"{', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]
