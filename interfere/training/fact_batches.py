"""Facts as tensors for a loss of one's own, in the facts' order."""

from collections.abc import Iterator

from jaxtyping import Bool, Int
from torch import Tensor

from interfere.facts.fact import FactSet
from interfere.models.model import Model
from interfere.training.rows import IGNORED, FactRows, collate


def fact_batches(
    model: Model, facts: FactSet, batch_size: int
) -> Iterator[tuple[Int[Tensor, "rows tokens"], Bool[Tensor, "rows tokens"]]]:
    """Token ids, and which of them are the answer's, `batch_size` facts at a time.

    Raises:
        InputError: no facts.
    """
    rows = FactRows(facts, model.tokenizer)
    for start in range(0, len(rows), batch_size):
        stop = min(start + batch_size, len(rows))
        batch = collate([rows[i] for i in range(start, stop)])
        answer = batch["labels"] != IGNORED
        yield batch["input_ids"].to(model.device), answer.to(model.device)
