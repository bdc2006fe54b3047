"""Which parameters hold the gradients' squared norm."""

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from interfere.models.example_gradients import (
    Factors,
    Lookup,
    Whole,
    answer_losses,
    example_gradients,
)


def gradient_shares(
    network: PreTrainedModel,
    ids: Int[Tensor, "examples tokens"],
    answer: Bool[Tensor, "examples tokens"],
) -> dict[str, float]:
    """Each parameter's share of the summed squared norms of these examples' gradients.

    Of a tied matrix the two uses are added as if they were orthogonal. Shares add up to 1;
    a parameter that no example's loss depends on has 0.
    """
    norms = {name: 0.0 for name, _ in network.named_parameters()}

    def receive(name: str, factors: Factors) -> None:
        norms[name] += float(_squared_norm(factors))

    with example_gradients(network, receive):
        answer_losses(network, ids, answer).sum().backward()
    total = sum(norms.values())
    return {name: norm / total for name, norm in norms.items()}


def _squared_norm(factors: Factors) -> Tensor:
    """Over all examples; ‖Σₜ uₜ ⊗ wₜ‖² = Σₜₛ ⟨uₜ, uₛ⟩⟨wₜ, wₛ⟩."""
    if isinstance(factors, Whole):
        return factors.values.float().square().sum()
    if isinstance(factors, Lookup):
        same = (factors.chosen[:, None] == factors.chosen[:, :, None]).float()
    else:
        rows = factors.rows.float()
        same = rows @ rows.transpose(1, 2)
    columns = factors.columns.float()
    return (same * (columns @ columns.transpose(1, 2))).sum()
