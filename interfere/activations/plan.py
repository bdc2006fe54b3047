"""What a recording runs, fixed beforehand: prompts, tokens, positions and batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError
from interfere.facts import questions
from interfere.facts.fact import FactSet
from interfere.models.encoding import encode_continuations, encode_prompts, subject_spans
from interfere.models.hooks import unknown

POSITIONS = ("subject_last", "prompt_last", "answer_first")
"""The last token of the subject, of the prompt, and the first of the canonical answer."""


@dataclass(frozen=True)
class Plan:
    """A pure function of the full list of facts, never of what is left to do.

    Padding moves the last bits of an activation, so the batches are part of the result.
    """

    facts: FactSet
    prompts: list[str]
    tokens: list[list[int]]
    """A fact's prompt, canonical answer and its end."""
    answers_at: Int[np.ndarray, " facts"]
    """Index of the answer's first token."""
    positions: dict[str, Int[np.ndarray, " facts"]]
    """Token indices by name."""
    subjects: Int[np.ndarray, "facts 2"] | None
    """First and last token of the subject; None where nothing asks for them."""
    upto: Int[np.ndarray, " facts"]
    """How many of a fact's tokens run: up to the last one that something kept needs."""
    chunk_facts: int
    batch_facts: int

    @property
    def chunks(self) -> list[range]:
        """Rows of each chunk of consecutive facts."""
        rows, size = range(len(self.facts)), self.chunk_facts
        return [rows[begin : begin + size] for begin in range(0, len(rows), size)]

    def batches(self, chunk: range) -> Iterator[list[int]]:
        """Rows of each batch, by number of tokens inside the chunk, the longest batch first."""
        rows = sorted(chunk, key=lambda row: self.upto[row])
        # Shorter batches then fit into memory that longer ones let go; growing, none would.
        for begin in reversed(range(0, len(rows), self.batch_facts)):
            yield rows[begin : begin + self.batch_facts]

    def beginning(self, chunk: range) -> list[int]:
        """Tokens that all prompts of a chunk begin with, before anything that is kept."""
        kept = min(at[chunk.start : chunk.stop].min() for at in self.positions.values())
        prompts = [self.tokens[row] for row in chunk]
        limit = min(int(kept), *(self.answers_at[chunk.start : chunk.stop] - 1))
        columns = zip(*prompts, strict=False)
        same = takewhile(lambda column: len(set(column)) == 1, islice(columns, limit))
        return [column[0] for column in same]

    @property
    def rule(self) -> str:
        """The batches in words: with the same facts, the same rule gives the same plan."""
        return (
            f"{self.chunk_facts} consecutive facts a chunk; inside it ordered by number of "
            f"tokens, {self.batch_facts} a batch, padded on the right; what the "
            "prompts of a chunk begin with runs once, tokens after the last one needed do not "
            "run, nor the last MLP on others than needed"
        )


def chunk_facts(rule: str) -> int:
    """Facts a chunk, as `Plan.rule` says it."""
    return int(rule.split(" ", 1)[0])


def make_plan(
    tokenizer: PreTrainedTokenizerBase,
    facts: FactSet,
    positions: Sequence[str],
    *,
    chunk_facts: int,
    batch_facts: int,
    subjects: bool = False,
    scores: bool = True,
) -> Plan:
    """Ask every fact zero-shot, the canonical answer and its end appended.

    Args:
        tokenizer: a fast one.
        facts: in the order of the rows.
        positions: names in `POSITIONS`.
        chunk_facts: facts written together.
        batch_facts: facts in one forward pass.
        subjects: find all tokens of each subject, whatever the positions.
        scores: run the whole answer.

    Raises:
        InputError: no facts, no or unknown positions, sizes below 1, a prompt without its
            subject, an answer that tokenises to nothing.
    """
    if not len(facts):
        raise InputError(f"{facts.source}: there are no facts to record")
    if chunk_facts < 1 or batch_facts < 1:
        raise InputError(
            f"chunks and batches hold at least 1 fact, got {chunk_facts} and {batch_facts}"
        )
    prompts = [questions.prompt(fact) for fact in facts]
    heads = encode_prompts(tokenizer, prompts)
    targets = [questions.target(fact.answer) for fact in facts]
    tails = encode_continuations(tokenizer, prompts, targets)
    starts = np.array([len(head) for head in heads])
    chosen = _chosen(positions)
    spans = None
    places = {"prompt_last": starts - 1, "answer_first": starts}
    if subjects or "subject_last" in chosen:
        spans = subject_spans(tokenizer, prompts, [fact.subject for fact in facts])
        places["subject_last"] = spans[:, 1]
    tokens = [head + tail for head, tail in zip(heads, tails, strict=True)]
    last = np.max([places[name] for name in chosen], axis=0)
    return Plan(
        facts=facts,
        prompts=prompts,
        tokens=tokens,
        answers_at=starts,
        positions={name: places[name].astype(np.int64) for name in chosen},
        subjects=spans,
        upto=np.array([len(ids) for ids in tokens]) if scores else last + 1,
        chunk_facts=chunk_facts,
        batch_facts=batch_facts,
    )


def _chosen(positions: Sequence[str]) -> list[str]:
    wanted = [positions] if isinstance(positions, str) else positions
    for name in wanted:
        if name not in POSITIONS:
            raise unknown("position", name, POSITIONS)
    if not wanted:
        raise InputError(f"no positions are named; there are {', '.join(POSITIONS)}")
    return [name for name in POSITIONS if name in wanted]
