"""Plain patches against the bridge's own `run_with_hooks`, and what they leave alone."""

import pytest
import torch
from tiny_models import CONFIGS, places, tiny_model, tokenizer
from torch import Tensor

from interfere.errors import InputError
from interfere.facts import questions
from interfere.models import hooks
from interfere.models.model import Model
from interfere.models.patching import Patch, patching

ROWS, TOKENS = torch.tensor([0, 1, 1]), torch.tensor([3, 5, 9])


def ids() -> Tensor:
    """Two prompts of one length."""
    prompts = [questions.prompt(fact) for fact in places()]
    rows = tokenizer()(prompts).input_ids
    length = len(rows[0])
    return torch.tensor([row[:length] for row in rows if len(row) >= length][:2])


def replaceable(model: Model) -> list[str]:
    names = hooks.hook_names(model.network)
    return [name for name in names if not name.endswith(hooks.MASS)]


def patch_of(model: Model, name: str, *, head: int | None = None, seed: int = 0) -> Patch:
    token = hooks.shape(model.network, name)
    generator = torch.Generator().manual_seed(seed)
    size = (len(ROWS), *(token if head is None else token[1:]))
    return Patch(ROWS, TOKENS, torch.randn(size, generator=generator), head)


@torch.inference_mode()
def logits(model: Model, patches: dict[str, Patch]) -> Tensor:
    with patching(model.network, patches):
        return model.network(ids(), use_cache=False).logits


def assert_near(found: Tensor, expected: Tensor, name: str) -> None:
    assert (found - expected).norm() <= 1e-4 * expected.norm(), name


@pytest.mark.parametrize("architecture", CONFIGS)
def test_equal_the_bridge(architecture):
    model = tiny_model(architecture)
    bridge, plain = model.hooked(), logits(model, {})
    names = [name for name in replaceable(model) if "blocks.0" not in name]
    cells = [(name, None) for name in names] + [("blocks.1.attn.hook_z", 2)]
    for name, head in cells:
        patch = patch_of(model, name, head=head)

        def put(activation, hook, patch=patch):
            activation = activation.clone()
            place = (ROWS, TOKENS) if patch.head is None else (ROWS, TOKENS, patch.head)
            activation[place] = patch.values
            return activation

        with torch.inference_mode():
            expected = bridge.run_with_hooks(ids(), fwd_hooks=[(name, put)])
        found = logits(model, {name: patch})
        assert_near(found, expected, f"{name}, head {head}")
        assert not torch.equal(found, plain), name


@pytest.mark.parametrize("architecture", CONFIGS)
def test_own_activations_change_no_bit(architecture):
    model, seen = tiny_model(architecture), {}
    names = replaceable(model)
    with torch.inference_mode(), hooks.watching(model.network, names, seen.__setitem__):
        model.network(ids(), use_cache=False)
    own = {name: Patch(ROWS, TOKENS, seen[name][ROWS, TOKENS]) for name in names}
    assert torch.equal(logits(model, own), logits(model, {}))


def test_only_what_comes_behind_changes():
    model, seen = tiny_model(), {}
    names = replaceable(model)
    plain = {}
    with torch.inference_mode():
        with hooks.watching(model.network, names, plain.__setitem__):
            model.network(ids())
        patch = Patch(torch.tensor([1]), torch.tensor([5]), torch.ones(1, 64))
        # Patched first, so what is seen is what the network goes on with.
        with (
            patching(model.network, {"blocks.1.hook_mlp_out": patch}),
            hooks.watching(model.network, names, seen.__setitem__),
        ):
            model.network(ids())
    for name in names[: names.index("blocks.1.hook_mlp_out")]:
        assert torch.equal(seen[name], plain[name]), name
    assert torch.equal(seen["blocks.1.hook_mlp_out"][1, 5], torch.ones(64))
    for name in ("blocks.1.hook_out", "blocks.2.hook_out", "ln_final.hook_out"):
        assert torch.equal(seen[name][0], plain[name][0]), name
        assert torch.equal(seen[name][1, :5], plain[name][1, :5]), name
        assert not torch.allclose(seen[name][1, 5], plain[name][1, 5]), name
    assert not torch.allclose(
        seen["blocks.2.hook_out"][1, 6:], plain["blocks.2.hook_out"][1, 6:]
    )
    assert torch.equal(seen["blocks.1.hook_out"][1, 6:], plain["blocks.1.hook_out"][1, 6:])


def test_one_head_leaves_the_others():
    model, seen = tiny_model(), {}
    name = "blocks.0.attn.hook_z"
    with (
        torch.inference_mode(),
        patching(model.network, {name: patch_of(model, name, head=1)}),
        hooks.watching(model.network, [name], seen.__setitem__),
    ):
        model.network(ids())
        patched = seen[name].clone()
        seen.clear()
    with torch.inference_mode(), hooks.watching(model.network, [name], seen.__setitem__):
        model.network(ids())
    changed = (patched != seen[name]).any(-1)
    assert changed.nonzero().tolist() == [[0, 3, 1], [1, 5, 1], [1, 9, 1]]


def test_gradients_flow_through_a_patch():
    model = tiny_model().copy()
    patch = patch_of(model, "blocks.1.hook_out")
    patch.values.requires_grad_(True)
    with patching(model.network, {"blocks.1.hook_out": patch}):
        model.network(ids()).logits.square().sum().backward()
    assert patch.values.grad.abs().sum() > 0
    assert model.network.get_submodule("model.layers.0.mlp").up_proj.weight.grad.any()


def test_patches_are_gone_after_the_block():
    model = tiny_model()
    plain = logits(model, {})
    with (
        pytest.raises(ZeroDivisionError),
        patching(
            model.network, {"blocks.0.hook_out": patch_of(model, "blocks.0.hook_out")}
        ),
    ):
        _ = 1 / 0
    assert torch.equal(logits(model, {}), plain)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.3.hook_out", r"no hook that can be replaced is named 'blocks.3.hook_out'"),
        ("blocks.1.attn.hook_subject_mass", r"no hook that can be replaced .*near it"),
    ],
)
def test_what_can_not_be_replaced(name, message):
    patch = Patch(ROWS, TOKENS, torch.zeros(3, 64))
    with pytest.raises(InputError, match=message):
        logits(tiny_model(), {name: patch})


@pytest.mark.parametrize(
    ("name", "patch", "message"),
    [
        (
            "blocks.1.hook_out",
            Patch(ROWS, TOKENS, torch.zeros(3, 63)),
            r"1.hook_out: 3 rows and 3 tokens need values of shape \(3, 64\), got \(3, 63\)",
        ),
        (
            "blocks.1.attn.hook_z",
            Patch(ROWS, TOKENS, torch.zeros(3, 16), head=4),
            r"hook_z has heads 0 to 3, but head 4",
        ),
        (
            "blocks.1.hook_out",
            Patch(ROWS, TOKENS, torch.zeros(3, 64), head=0),
            r"hook_out has no heads, but head 0",
        ),
        (
            "blocks.1.hook_out",
            Patch(ROWS, torch.tensor([3, 5, 999]), torch.zeros(3, 64)),
            r"1.hook_out: token 999 is to be replaced, but the batch has tokens 0 to",
        ),
        (
            "blocks.1.hook_out",
            Patch(torch.tensor([0, -1, 1]), TOKENS, torch.zeros(3, 64)),
            r"1.hook_out: row -1 is to be replaced, but the batch has rows 0 to 1",
        ),
    ],
)
def test_ill_fitting_patches_are_refused(name, patch, message):
    with pytest.raises(InputError, match=message):
        logits(tiny_model(), {name: patch})
