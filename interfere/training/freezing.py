"""Train one group of parameters and leave the others exactly as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.parameter_groups import GROUPS, matches


@dataclass(frozen=True)
class Freezing:
    """Trains `attention` or `ffn` alone, or parameters whose names match any glob given.

    Embeddings, unembedding and norms (those inside attention too) stay frozen, unless a
    glob names them. Source: arXiv 2604.15574; what it does with those three is not known.

    Raises:
        InputError: a group that does not exist.
    """

    trains: Literal["attention", "ffn"] | Sequence[str]

    def __post_init__(self) -> None:
        if isinstance(self.trains, str) and self.trains not in GROUPS:
            raise InputError(
                f"no parameter group {self.trains!r}; choose {' or '.join(GROUPS)}, or "
                "give a list of globs over parameter names"
            )

    def change(self, network: PreTrainedModel) -> None:
        """Freeze in place everything that is not trained.

        Raises:
            InputError: that would be every parameter, or none.
        """
        chosen = self._chosen(network)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in chosen)

    def parameters(self, network: PreTrainedModel) -> int:
        """How many numbers would be trained; shared tensors count once."""
        chosen = self._chosen(network)
        return sum(p.numel() for name, p in network.named_parameters() if name in chosen)

    def _chosen(self, network: PreTrainedModel) -> set[str]:
        names = [name for name, _ in network.named_parameters()]
        if isinstance(self.trains, str):
            inside = [n for n in names if matches(n, GROUPS[self.trains])]
            chosen = {n for n in inside if not fnmatchcase(n, "*norm*")}
        else:
            chosen = {n for n in names if matches(n, self.trains)}
        if not chosen or len(chosen) == len(names):
            raise InputError(
                f"training {self.trains!r} would freeze "
                f"{'nothing' if chosen else 'everything'} of {type(network).__name__}; its "
                f"parameters have names like {names[len(names) // 2]!r}"
            )
        return chosen
