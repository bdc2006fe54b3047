"""What asks facts through a tokenizer's chat template."""

import numpy as np
from transformers import PreTrainedTokenizerBase

from interfere.activations.plan import Plan
from interfere.errors import InputError
from interfere.facts.chat import conversation
from interfere.facts.fact import FactSet
from interfere.facts.questions import question
from interfere.models.chat_encoding import encode_conversation

POSITIONS = ("prompt_last", "answer_first")
"""The token after which the assistant answers, and the first of its answer."""


def chat_plan(
    tokenizer: PreTrainedTokenizerBase,
    facts: FactSet,
    *,
    batch_facts: int,
    system: str | None = None,
) -> Plan:
    """Each fact asked by the user and answered by the assistant, up to its end of turn.

    Raises:
        InputError: no facts, or as `encode_conversation`.
    """
    if not len(facts):
        raise InputError(f"{facts.source}: there are no facts to ask")
    tokens, starts = [], []
    for fact in facts:
        turns = conversation(fact, system)
        encoded = encode_conversation(tokenizer, turns, f"{facts.source}: {fact.subject!r}")
        first, end = encoded.said[-1]
        tokens.append(encoded.tokens[:end])
        starts.append(first)
    at = np.array(starts, np.int64)
    return Plan(
        facts=facts,
        prompts=[question(fact) for fact in facts],
        tokens=tokens,
        answers_at=at,
        positions={"prompt_last": at - 1, "answer_first": at},
        subjects=None,
        upto=np.array([len(ids) for ids in tokens]),
        chunk_facts=len(facts),
        batch_facts=batch_facts,
    )
