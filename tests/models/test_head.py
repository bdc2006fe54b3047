"""The unembedding: when it is a weight and nothing else."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from tiny_models import CONFIGS, tiny_model
from torch import nn

from interfere.models.head import plain_weight, unembed


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_plain_weight_gives_the_logits(architecture):
    network = tiny_model(architecture).network
    weight = plain_weight(network)
    if architecture == "gemma2":  # caps its logits
        assert weight is None
        return
    assert weight is network.get_output_embeddings().weight
    states = torch.randn(5, 64)
    torch.testing.assert_close(unembed(network, states), states @ weight.T)


def test_what_does_more_has_none():
    biased = tiny_model().copy().network
    biased.lm_head.bias = nn.Parameter(torch.ones(biased.config.vocab_size))
    hooked = tiny_model().copy().network
    hooked.lm_head.register_forward_hook(lambda module, given, out: 2 * out)
    scaled = tiny_model().copy().network
    scaled.config.logit_scale = 0.5
    adapted = tiny_model().copy().network
    inject_adapter_in_model(LoraConfig(target_modules=["lm_head"]), adapted)
    for network in (biased, hooked, scaled, adapted):
        assert plain_weight(network) is None
