"""Train some parameters and leave the others exactly as they are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.architectures import architecture
from interfere.models.parameter_groups import components, matches

Component = Literal["attention", "ffn", "embeddings", "head", "norms"]


@dataclass(frozen=True)
class Freezing:
    """Trains some parameters; the others stay bit for bit what they were.

    Give `trains` (one component, or globs over parameter names) or `freezes` (components),
    and either may be cut by depth: the bottom `bottom` blocks stay frozen, and with them
    the embeddings. With `trains="attention"` or `"ffn"`, embeddings, unembedding and norms
    (those inside attention too) stay frozen. A tied unembedding counts as embeddings.

    `random_control=True`: in place of the chosen parameters as many single weights, drawn
    uniformly from all matrices of the blocks: was it which parameters were trained, or how
    many? Their gradient is masked; AdamW without weight decay never moves the rest.

    Cost: none; a smaller optimizer state (not for the control). Known to fail: on small
    models every component can learn the new facts, and forgets with them.

    Raises:
        InputError: a component that does not exist, both or neither of `trains` and
            `freezes` (unless `bottom` is given), `bottom` below 0.

    Source: arXiv 2604.15574 (components; what it does with embeddings, head and norms is not
    known); arXiv 2501.13453 (embeddings and bottom blocks).
    """

    trains: Component | Sequence[str] | None = None
    freezes: Component | Sequence[Component] | None = None
    bottom: int = 0
    random_control: bool = False
    seed: int = 0
    """Of the random control."""

    def __post_init__(self) -> None:
        named = [self.trains] if isinstance(self.trains, str) else []
        named += [self.freezes] if isinstance(self.freezes, str) else self.freezes or []
        for name in named:
            if name not in get_args(Component):
                raise InputError(
                    f"no component {name!r}; choose {' or '.join(get_args(Component))}, or "
                    "give trains=… a list of globs over parameter names"
                )
        if self.bottom < 0:
            raise InputError(f"bottom must be 0 blocks or more, got {self.bottom}")
        if self.trains is not None and self.freezes is not None:
            raise InputError("give trains or freezes, not both")
        if self.trains is None and self.freezes is None and not self.bottom:
            raise InputError("say what to freeze: trains, freezes or bottom")

    def change(self, network: PreTrainedModel) -> None:
        """Freeze in place everything that is not trained.

        Raises:
            InputError: that would be every parameter, or none; more blocks than there are.
        """
        chosen = self._chosen(network)
        masks = self._masks(network, chosen) if self.random_control else {}
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in (masks or chosen))
            if name in masks:
                _mask(parameter, masks[name])

    def finish(self, network: PreTrainedModel) -> None:
        """Everything is trainable again."""
        for parameter in network.parameters():
            if masked := getattr(parameter, "_interfere_mask", None):
                masked[0].remove()
                del parameter._interfere_mask  # type: ignore[attr-defined]
        network.requires_grad_(True)

    def parameters(self, network: PreTrainedModel) -> int:
        """How many numbers would be trained; shared tensors count once."""
        chosen = self._chosen(network)
        return sum(p.numel() for name, p in network.named_parameters() if name in chosen)

    def _chosen(self, network: PreTrainedModel) -> set[str]:
        kinds = components(network)
        names = list(kinds)
        if isinstance(self.trains, str):
            chosen = {n for n in names if kinds[n] == self.trains}
        elif self.trains is not None:
            chosen = {n for n in names if matches(n, self.trains)}
        else:
            frozen = (
                {self.freezes} if isinstance(self.freezes, str) else {*(self.freezes or ())}
            )
            chosen = {n for n in names if kinds[n] not in frozen}
        if self.bottom:
            chosen -= self._below(network, kinds)
        if not chosen or len(chosen) == len(names):
            raise InputError(
                f"{self._said()} would freeze "
                f"{'nothing' if chosen else 'everything'} of {type(network).__name__}; its "
                f"parameters have names like {names[len(names) // 2]!r}"
            )
        return chosen

    def _below(self, network: PreTrainedModel, kinds: dict[str, str]) -> set[str]:
        depth = int(network.config.num_hidden_layers)
        if self.bottom > depth:
            raise InputError(
                f"bottom={self.bottom}, but {type(network).__name__} has {depth} blocks"
            )
        place = architecture(network).blocks
        blocks = tuple(f"{place}.{i}." for i in range(self.bottom))
        return {n for n, k in kinds.items() if n.startswith(blocks) or k == "embeddings"}

    def _said(self) -> str:
        given = {"trains": self.trains, "freezes": self.freezes, "bottom": self.bottom}
        return "training with " + ", ".join(f"{k}={v!r}" for k, v in given.items() if v)

    def _masks(self, network: PreTrainedModel, chosen: set[str]) -> dict[str, Tensor]:
        """As many weights as would be trained, by the parameter that they are of."""
        named = dict(network.named_parameters())
        kinds = components(network)
        pool = [
            n for n, p in named.items() if kinds[n] in ("attention", "ffn") and p.ndim > 1
        ]
        sizes = [named[name].numel() for name in pool]
        wanted = sum(named[name].numel() for name in chosen)
        if wanted > sum(sizes):
            raise InputError(
                f"{self._said()} trains {wanted:,} weights, the blocks' matrices have only "
                f"{sum(sizes):,} to draw a random control from"
            )
        random = np.random.default_rng(self.seed)
        shares = random.multivariate_hypergeometric(sizes, wanted, method="marginals")
        masks = {}
        for name, share in zip(pool, shares.tolist(), strict=True):
            flat = np.zeros(named[name].numel(), dtype=bool)
            flat[random.choice(len(flat), share, replace=False, shuffle=False)] = True
            mask = torch.from_numpy(flat).view(named[name].shape)
            masks[name] = mask.to(named[name].device)
        return masks


def masks_weights(mitigations: Iterable[object]) -> bool:
    """Whether one of these is the random control, which masks single weights."""
    return any(isinstance(one, Freezing) and one.random_control for one in mitigations)


def mask_alike(copied: PreTrainedModel, network: PreTrainedModel) -> None:
    """Give a copy the masks of the random control, which a deep copy leaves behind."""
    for parameter, other in zip(copied.parameters(), network.parameters(), strict=True):
        if masked := getattr(other, "_interfere_mask", None):
            _mask(parameter, masked[1])


def _mask(parameter: Tensor, mask: Tensor) -> None:
    handle = parameter.register_hook(lambda gradient: gradient * mask.to(gradient.device))
    cast(object, parameter).__dict__["_interfere_mask"] = handle, mask
