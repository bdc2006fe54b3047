"""The last MLP on a few tokens alone: these come out as they do among all."""

from contextlib import nullcontext

import pytest
import torch
from tiny_models import CONFIGS, places, tiny_model, tokenizer
from torch import Tensor

from interfere.facts import questions
from interfere.models.architectures import architecture
from interfere.models.hooks import watching
from interfere.models.model import Model
from interfere.models.narrow_mlp import mlp_on


def ids() -> Tensor:
    return torch.tensor([tokenizer()(questions.prompt(places()[0])).input_ids])


def added(model: Model, last: int, wanted: Tensor | None = None) -> dict[str, Tensor]:
    """What the last MLP adds, and the residual stream after it."""
    seen: dict[str, Tensor] = {}
    names = [f"blocks.{last}.hook_mlp_out", f"blocks.{last}.hook_out"]
    some = (
        nullcontext()
        if wanted is None
        else mlp_on(model.network, last, wanted.flatten().nonzero()[:, 0])
    )
    with torch.inference_mode(), some, watching(model.network, names, seen.__setitem__):
        model.network(ids(), use_cache=False)
    return seen


@pytest.mark.parametrize("name", CONFIGS)
def test_wanted_tokens_come_out_as_among_all(name):
    model = tiny_model(name)
    last = model.layers - 1
    wanted = torch.zeros_like(ids(), dtype=torch.bool)
    wanted[:, [2, 5]] = True
    whole, narrow = added(model, last), added(model, last, wanted)
    for hook, expected in whole.items():
        assert torch.allclose(narrow[hook][wanted], expected[wanted], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(narrow[hook][~wanted], expected[~wanted], rtol=1e-2)
        assert torch.equal(added(model, last)[hook], expected)  # nothing of it stays


@pytest.mark.parametrize("name", CONFIGS)
def test_the_mlp_runs_on_wanted_tokens_alone(name):
    model = tiny_model(name)
    last = model.layers - 1
    wanted = torch.zeros_like(ids(), dtype=torch.bool)
    wanted[:, [2, 5]] = True
    places = architecture(model.network)
    block = model.network.get_submodule(f"{places.blocks}.{last}")
    parts = block.get_submodule(places.feed_forward).modules()
    first = next(m for m in parts if getattr(m, "weight", None) is not None)
    ran: list[tuple[int, ...]] = []
    with first.register_forward_pre_hook(lambda _, args: ran.append(args[0].shape)):
        added(model, last, wanted)
    assert ran == [(2, model.network.config.hidden_size)]
