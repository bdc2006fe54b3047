"""How sure a model is of what it says, right or wrong."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from interfere.facts.fact import FactSet
from interfere.facts.matching import is_right
from interfere.models.generation import respond
from interfere.models.model import Model
from interfere.models.token_scores import token_scores


@dataclass(frozen=True)
class Confidence:
    """Greedy answers and how sure the model is of each; entry i is fact i."""

    responses: tuple[str, ...]
    """What is said up to the line's end."""
    right: Bool[np.ndarray, " facts"]
    """The response is the answer or an alias, after normalisation."""
    probability: Float64[np.ndarray, " facts"]
    """Of saying just this and ending the line, at temperature 1; in [0, 1]. Other
    tokenisations and spellings of the answer are not counted in."""
    entropy: Float64[np.ndarray, " facts"]
    """Nats, of the answer's first token; in [0, log of the vocabulary's size]."""


def confidence(
    model: Model,
    facts: FactSet,
    *,
    prefix: str = "",
    paraphrase: bool = False,
    max_new_tokens: int = 16,
    batch_tokens: int = 2048,
) -> Confidence:
    """Ask every fact, let the model answer greedily, and score what it said.

    The response is generated, then run once more whole. One that has no line's end within
    `max_new_tokens` is scored as far as it goes, so its probability is too high.

    Args:
        model: left as it was, in training mode or not.
        facts: what is asked.
        prefix: answered questions to stand before each.
        paraphrase: ask in the relation's second wording.
        max_new_tokens: where a response without a line's end is cut.
        batch_tokens: padded tokens in a batch.

    Raises:
        InputError: a fact without a question.
    """
    said = respond(
        model,
        facts,
        prefix=prefix,
        paraphrase=paraphrase,
        max_new_tokens=max_new_tokens,
        batch_tokens=batch_tokens,
    )
    scores = token_scores(
        model,
        [response.prompt + response.answer for response in said],
        [len(response.prompt) for response in said],
        batch_tokens=batch_tokens,
    )
    right = [is_right(r.text, fact) for r, fact in zip(said, facts, strict=True)]
    return Confidence(
        responses=tuple(response.text for response in said),
        right=np.array(right, dtype=bool),
        probability=np.exp([score.logprob.sum() for score in scores]),
        entropy=np.array([score.entropy[0] for score in scores]),
    )
