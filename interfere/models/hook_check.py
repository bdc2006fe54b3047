"""Hold the plain hooks to TransformerLens' bridge before a model is recorded."""

import json
import weakref
from dataclasses import asdict
from importlib import metadata

import torch
from torch import Tensor
from transformers import PreTrainedModel

from interfere import cache
from interfere.errors import InputError
from interfere.models import hooks
from interfere.models.architectures import architecture
from interfere.models.model import Model

TEXTS = (
    "Q: Which country is Cairo located in?\nA: Egypt\n",
    "Q: What is the capital of Peru?\nA:",
    "Three short words",
)
LAYERS = 2
"""Blocks of the trial: enough for kinds that alternate, and for a last one."""

TOLERANCE = 1e-3
"""Of the norm of the difference to the norm of what the bridge gives; eager attention,
which it forces, differs from PyTorch's own by a tenth of that."""

SHOW_WEIGHTS = ("sdpa", "eager")
"""Implementations of attention that show their weights and run anywhere."""

_CHECKED: weakref.WeakKeyDictionary[PreTrainedModel, str] = weakref.WeakKeyDictionary()


def check_hooks(model: Model) -> None:
    """Refuse a model on whose architecture the plain hooks do not show what they should.

    A network of the same configuration, but of two blocks and with random weights, runs a
    few prompts under the hooks and under TransformerLens' bridge. The outcome is kept in
    the cache by configuration and library versions, so it costs seconds once.

    Raises:
        InputError: an architecture that is not supported, that the bridge can't wrap, or on
            which a hook differs from the bridge; the hook is named.
    """
    identity, kind = _identity(model.network), type(model.network).__name__
    if _CHECKED.get(model.network) == identity:
        return
    file = cache.home() / "checks" / f"{identity}.json"
    if not file.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            with torch.autocast("cpu", enabled=False):
                _compare(Model(model.name, _trial(model.network), model.tokenizer), kind)
        with cache.whole_file(file) as draft:
            draft.write_text(json.dumps({"architecture": kind}))
    _CHECKED[model.network] = identity


def _identity(network: PreTrainedModel) -> str:
    """What can change the outcome: configuration and libraries, never the weights."""
    config = network.config.to_diff_dict()
    for of_one_file in ("_name_or_path", "transformers_version", "dtype"):
        config.pop(of_one_file, None)
    libraries = ("torch", "transformers", "transformer-lens")
    versions = {name: metadata.version(name) for name in libraries}
    kind = f"{type(network).__module__}.{type(network).__qualname__}"
    places = asdict(architecture(network)) | {"class": kind, "hooks": _names(network)}
    attention = network.config._attn_implementation
    return cache.digest(
        json.loads(json.dumps([versions, places, attention, config], default=str))
    )


def _names(network: PreTrainedModel) -> list[str]:
    """What is held to the bridge: attention's weights only where it shows them."""
    shown = network.config._attn_implementation in SHOW_WEIGHTS
    names = hooks.hook_names(network)
    return [name for name in names if shown or not name.endswith(hooks.MASS)]


def _trial(network: PreTrainedModel) -> PreTrainedModel:
    """Two blocks of the same kind, in float32 on the CPU."""
    settings = network.config.to_dict() | {"dtype": "float32"}
    settings["num_hidden_layers"] = count = min(LAYERS, network.config.num_hidden_layers)
    if kinds := settings.get("layer_types"):
        settings["layer_types"] = kinds[:count]
    config = type(network.config).from_dict(settings)
    attention = network.config._attn_implementation
    config._attn_implementation = attention if attention in SHOW_WEIGHTS else "sdpa"
    twin = type(network)(config).float()
    for value in twin.parameters():
        if value.ndim == 1:
            # Norms start at one and biases at zero: a hook set beside them would not show.
            value.data += 0.1 * torch.randn_like(value)
    return twin.eval()


@torch.inference_mode()
def _compare(trial: Model, architecture: str) -> None:
    names = _names(trial.network)
    try:
        bridge = trial.hooked()
    except Exception as error:  # whatever the bridge raises, it means the same here
        raise InputError(
            f"{architecture}: TransformerLens' bridge, which recordings are held to, can't "
            f"wrap it: {' '.join(str(error).split())}"
        ) from error
    for text in TEXTS:
        ids = torch.tensor([trial.tokenizer(text).input_ids])
        subject = torch.zeros_like(ids, dtype=torch.bool)
        subject[:, 1:3] = True
        found: dict[str, Tensor] = {}
        with hooks.watching(trial.network, names, found.__setitem__, subject=subject):
            trial.network(ids, use_cache=False)
        wanted = [hooks.bridge_name(name) for name in names]
        _, cached = bridge.run_with_cache(ids, names_filter=wanted)
        for name in names:
            expected = cached[hooks.bridge_name(name)]
            if name.endswith(hooks.MASS):
                expected = expected[..., subject[0]].sum(-1).mT
            _hold(name, found[name], expected, architecture)


def _hold(name: str, found: Tensor, expected: Tensor, architecture: str) -> None:
    if found.shape == expected.shape:
        off = float((found - expected).norm() / expected.norm())
        if off <= TOLERANCE:
            return
        how = f"off by {off:.1e} of its norm"
    else:
        how = f"of shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    raise InputError(
        f"{architecture} can't be recorded with these versions of transformers and "
        f"transformer-lens: {name} is {how} against TransformerLens' bridge"
    )
