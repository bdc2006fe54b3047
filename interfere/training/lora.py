"""Train low-rank adapters and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from interfere.errors import InputError
from interfere.models.parameter_groups import components


@dataclass(frozen=True)
class LoRA:
    """Adds alpha / rank · B A to the weights of the targets, and trains A and B alone.

    After `train` the adapters are merged: what comes back is a plain model. So is what an
    InterferenceTrainer saves; in memory its model keeps them (`merge_adapters`).

    Cost: two small products a target; gradients and optimizer state of the adapters only.
    Known to fail: it learns less and forgets less; at a rank and rate at which it learns
    all new facts, it forgets too.

    Raises:
        InputError: rank below 1, alpha not above 0, dropout not in [0, 1), no such targets.

    Source: arXiv 2106.09685; B starts at 0, A as `peft` has it.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: Literal["attention", "ffn", "all"] | Sequence[str] = "all"
    """Linear layers of the blocks, by component; or the ends of module names."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"rank must be 1 or more, got {self.rank}")
        if not self.alpha > 0:
            raise InputError(f"alpha must be above 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be 0 or more and below 1, got {self.dropout}")
        if isinstance(self.targets, str) and self.targets not in (
            "attention",
            "ffn",
            "all",
        ):
            raise InputError(
                f"targets must be 'attention', 'ffn', 'all' or a list of module names, got "
                f"{self.targets!r}"
            )

    def change(self, network: PreTrainedModel) -> None:
        """Put the adapters in; everything else is frozen.

        Raises:
            InputError: no such module, or adapters that are there already.
        """
        from peft import LoraConfig, inject_adapter_in_model

        if adapters(network):
            raise InputError(
                "the model has LoRA adapters already; merge them, or train it as it is"
            )
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # any number works
            lora_dropout=self.dropout,
            target_modules=self._targets(network),
            fan_in_fan_out=False,
        )
        inject_adapter_in_model(config, network)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_("lora_" in name)

    def finish(self, network: PreTrainedModel) -> None:
        """Merge the adapters into the weights; everything is trainable again."""
        merge_adapters(network)
        network.requires_grad_(True)

    def _targets(self, network: PreTrainedModel) -> list[str]:
        linear = [
            n for n, m in network.named_modules() if isinstance(m, nn.Linear | Conv1D)
        ]
        if isinstance(self.targets, str):
            kinds = components(network)
            wanted = ("attention", "ffn") if self.targets == "all" else (self.targets,)
            chosen = [name for name in linear if kinds.get(f"{name}.weight") in wanted]
        else:
            ends = tuple(self.targets)
            chosen = [
                n for n in linear if n in ends or n.endswith(tuple(f".{e}" for e in ends))
            ]
        if not chosen:
            raise InputError(
                f"no linear layer of {type(network).__name__} is called {self.targets!r}; "
                f"there are names like {linear[len(linear) // 2]!r}"
            )
        return chosen


def adapters(network: PreTrainedModel) -> dict[str, nn.Module]:
    """The layers that hold an adapter, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    found = dict(network.named_modules())
    return {name: m for name, m in found.items() if isinstance(m, BaseTunerLayer)}  # type: ignore[misc]


def merge_adapters(network: PreTrainedModel) -> None:
    """Add every adapter to the weights that it stands beside, in place, and drop it."""
    for name, layer in adapters(network).items():
        layer.merge()  # type: ignore[operator]
        network.set_submodule(name, layer.get_base_layer())  # type: ignore[operator]


def adapter_state(network: PreTrainedModel) -> dict[str, Tensor]:
    """The adapters' own parameters, which are all that is trained."""
    return {name: p.detach() for name, p in network.named_parameters() if "lora_" in name}


def merged_state(network: PreTrainedModel, state: Mapping[str, Any]) -> dict[str, Any]:
    """What `merge_adapters` would leave of a state, under a plain network's names.

    Args:
        network: with adapters; not changed.
        state: its state, whole.
    """
    found = dict(state)
    for name, layer in adapters(network).items():
        held: Any = layer
        weight = found.pop(f"{name}.base_layer.weight")
        for adapter in held.active_adapters:
            down, up = (found.pop(f"{name}.lora_{x}.{adapter}.weight") for x in "AB")
            change = (up @ down) * held.scaling[adapter]
            weight = weight + (change.T if held.fan_in_fan_out else change)
        found[f"{name}.weight"] = weight
        if f"{name}.base_layer.bias" in found:
            found[f"{name}.bias"] = found.pop(f"{name}.base_layer.bias")
    return found
