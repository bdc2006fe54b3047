"""Facts as conversations: a question of the user's, the answer the assistant's."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from interfere.facts.fact import Fact, FactSet
from interfere.facts.questions import question

Message: TypeAlias = dict[str, Any]
"""`role` and `content`, as chat templates take them."""


def conversation(fact: Fact, system: str | None = None) -> list[Message]:
    """The fact asked and answered in two turns; before them a system turn, if one is given.

    Raises:
        InputError: neither the fact nor its relation has a question.
    """
    first = [] if system is None else [{"role": "system", "content": system}]
    return [
        *first,
        {"role": "user", "content": question(fact)},
        {"role": "assistant", "content": fact.answer},
    ]


def conversations(
    facts: FactSet | Iterable[Fact], system: str | None = None
) -> list[dict[str, list[Message]]]:
    """Rows with one column, `messages`, as supervised fine-tuning takes them.

    Raises:
        InputError: a fact without a question.
    """
    return [{"messages": conversation(fact, system)} for fact in facts]
