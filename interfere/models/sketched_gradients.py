"""Loss gradients of many examples, by component, each in a fixed count of numbers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from interfere.errors import InputError
from interfere.models.example_gradients import Factors, answer_losses, example_gradients
from interfere.models.gradient_check import check_seen
from interfere.models.gradient_sketch import MatrixSketch, Sketched, VectorSketch
from interfere.models.parameter_groups import components

NUMBERS = 1 << 18
"""Of an example's sketch, all parameters together."""

EVEN = 0.1
"""Of the numbers, what is dealt evenly to all parameters; the rest goes by share of the norm."""

FIRST_LOOK = 1 << 14
"""Numbers, dealt evenly, of the sketch that finds the shares."""

LEAST = 16
"""Numbers that the smallest parameter gets, unless it has fewer itself."""


@dataclass(frozen=True)
class SketchedGradients:
    """Examples' losses, and sketches of their gradients."""

    losses: Float[Tensor, " examples"]
    """Nats, summed over the answer's tokens."""
    plain: dict[str, Float[Tensor, "examples _"]]
    """By component; inner products are those of the gradients, up to the sketch's noise."""
    scaled: dict[str, Float[Tensor, "examples _"]]
    """The same of gradients times the scale; empty without one."""


class GradientSketcher:
    """Sketches gradients of a network as it is now, each call by the same random sketch.

    Inner products are right on average over seeds; their noise falls with the root of
    `numbers`, and is gone where each parameter gets as many as it has entries (tables of
    rows that ids choose: four times their width squared, if that is more). Every parameter
    is in: matrices, embeddings (tied or not), norms and biases.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        ids: Int[Tensor, "examples tokens"],
        answer: Bool[Tensor, "examples tokens"],
        *,
        scale: Mapping[str, Tensor] | None = None,
        numbers: int = NUMBERS,
        seed: int = 0,
        tokens: Int[Tensor, " some"] | None = None,
    ) -> None:
        """A few rows of `ids` and `answer` show which parameters deserve the numbers.

        `tokens`: all that will occur, to be kept apart in the embeddings' sketch.

        Raises:
            InputError: an architecture whose gradients aren't all seen, or half precision.
        """
        if network.dtype != torch.float32:
            raise InputError(
                f"{type(network).__name__} has {network.dtype} weights, too coarse for "
                "products of gradients; load it with dtype='float32'"
            )
        check_seen(network, ids[:1], answer[:1])
        self._network, self._components = network, components(network)
        self._tokens = tokens
        even = dict.fromkeys(self._components, 1 / len(self._components))
        self._build(even, FIRST_LOOK, scale, seed)
        shares = self._shares(ids, answer)
        self._build(shares, numbers, scale, seed)

    def __call__(
        self, ids: Int[Tensor, "examples tokens"], answer: Bool[Tensor, "examples tokens"]
    ) -> SketchedGradients:
        """Run one batch, padded on the right; `answer`: the tokens that the loss is of."""
        losses, found = self._run(ids, answer)
        kinds: tuple[dict[str, list[Tensor]], ...] = ({}, {})
        for name, sketches in found.items():
            for kind, sketch in zip(kinds, sketches, strict=False):
                kind.setdefault(self._components[name], []).append(sketch)
        plain, scaled = (
            {component: torch.cat(parts, 1) for component, parts in kind.items()}
            for kind in kinds
        )
        return SketchedGradients(losses, plain, scaled)

    def _run(self, ids: Tensor, answer: Tensor) -> tuple[Tensor, dict[str, Sketched]]:
        """Losses and every parameter's sketches, in the network's order."""
        found: dict[str, Sketched] = {}

        def receive(name: str, factors: Factors) -> None:
            sketch = self._sketches[name](factors)
            found[name] = found[name] + sketch if name in found else sketch

        with torch.enable_grad(), example_gradients(self._network, receive):
            losses = answer_losses(self._network, ids, answer)
            losses.sum().backward()  # type: ignore[no-untyped-call]
        used = (name for name in self._sketches if name in found)
        return losses.detach(), {name: found[name] for name in used}

    def _shares(self, ids: Tensor, answer: Tensor) -> dict[str, float]:
        """Each parameter's share of these examples' squared norms, mean of the kinds."""
        _, found = self._run(ids, answer)
        squares = torch.stack([x.double().square().sum((1, 2)) for x in found.values()])
        shares = torch.nan_to_num(squares / squares.sum(0)).mean(1)
        return dict(zip(found, shares.tolist(), strict=True))

    def _build(
        self,
        shares: Mapping[str, float],
        numbers: int,
        scale: Mapping[str, Tensor] | None,
        seed: int,
    ) -> None:
        vocabulary = self._network.get_input_embeddings().weight
        looked_up = {
            id(m.weight) for m in self._network.modules() if isinstance(m, nn.Embedding)
        }
        self._sketches: dict[str, MatrixSketch | VectorSketch] = {}
        for name, parameter in self._network.named_parameters():
            # Noise adds up as the squares of shares: large ones deserve more numbers.
            own = numbers * (
                EVEN / len(self._components) + (1 - EVEN) * shares.get(name, 0.0)
            )
            settings = (
                parameter.shape,
                max(LEAST, int(own)),
                _generator(name, seed),
                parameter.device,
                None if scale is None else scale[name],
            )
            apart = self._tokens if parameter is vocabulary else None
            self._sketches[name] = (
                MatrixSketch(*settings, looked_up=id(parameter) in looked_up, apart=apart)
                if parameter.ndim == 2
                else VectorSketch(*settings)
            )


def _generator(name: str, seed: int) -> torch.Generator:
    """Of its own for each parameter: its sketch does not hang on which others there are."""
    words = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(words[:8], "big") >> 1)
