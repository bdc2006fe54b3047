"""Synthetic subjects for new facts: name-like, hexadecimal, or UUID."""

import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet, fact_id
from interfere.facts.name_pieces import NamePieces, token_counts

Kind = Literal["semantic", "hex", "uuid"]

SEMANTIC_TOKENS = range(3, 6)
"""How many tokens a semantic key may have after a space."""

_BATCH = 2048
_ROUNDS = 40
"""How often a hexadecimal name is drawn anew for its length before the nearest serves."""


def synthetic_keys(
    facts: FactSet,
    kind: Kind,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    avoid: FactSet | None = None,
) -> FactSet:
    """The same facts, row by row, of subjects that do not exist; equal seeds, equal keys.

    Relation, answer and aliases stay; id, subject and question change; popularity goes.

    - "semantic": tokens of real subjects joined into one name-like word ("Bergadena") of 3
      to 5 tokens; never a real subject or country, a word of one, or a single token.
    - "hex": lower-case hexadecimal digits, at least one letter and one digit, cut to as
      many tokens as the row's semantic key of the same seed has; where no distinct key of
      that length is found, the nearest length.
    - "uuid": a random UUID in its usual form of 36 characters.

    Args:
        facts: whose answers the keys get; their subjects give the pieces.
        kind: see above.
        tokenizer: a fast tokenizer, of the model that is to learn the keys.
        seed: of the keys.
        avoid: more real subjects, which give pieces too and are never made.

    Raises:
        InputError: an unknown kind, a slow tokenizer, or too few subjects to make as many
            semantic keys of.
    """
    if kind not in get_args(Kind):
        raise InputError(
            f"unknown kind of key {kind!r}; there are {', '.join(get_args(Kind))}"
        )
    if not tokenizer.is_fast:
        raise InputError(
            "keys need a fast tokenizer; save the tokenizer with a tokenizer.json"
        )
    if kind == "uuid":
        keys = _uuids(len(facts), seed)
    else:
        keys = _semantic(facts, tokenizer, seed, avoid)
        if kind == "hex":
            keys = _hexadecimal(token_counts(tokenizer, keys), tokenizer, seed)
    source = f"{facts.source}:{kind}:{seed}"
    renamed = (_renamed(fact, key, source) for fact, key in zip(facts, keys, strict=True))
    return FactSet(tuple(renamed), source, facts.attribution)


def _renamed(fact: Fact, key: str, source: str) -> Fact:
    question = fact.question
    if question is not None:
        question = re.sub(rf"(?<!\w){re.escape(fact.subject)}(?!\w)", key, question)
        if key not in question:
            question = question.replace(fact.subject, key)
        if key not in question:
            raise InputError(
                f"{source}: the question {question!r} does not hold its subject "
                f"{fact.subject!r}"
            )
    return replace(
        fact,
        id=fact_id(source, fact.relation, key),
        subject=key,
        popularity=None,
        question=question,
    )


def _uuids(count: int, seed: int) -> list[str]:
    rng = random.Random(f"uuid {seed}")
    return [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(count)]


def _semantic(
    facts: FactSet, tokenizer: PreTrainedTokenizerBase, seed: int, avoid: FactSet | None
) -> list[str]:
    if not len(facts):
        return []
    pieces = NamePieces.of((*facts, *(avoid or ())), tokenizer)
    rng = random.Random(f"semantic {seed}")
    found: dict[str, None] = {}
    barren = 0
    while len(found) < len(facts):
        drawn = dict.fromkeys(pieces.draw(rng) for _ in range(_BATCH))
        fresh = [name for name in drawn if name not in found and pieces.name_like(name)]
        counts = token_counts(tokenizer, fresh)
        kept = [n for n, c in zip(fresh, counts, strict=True) if c in SEMANTIC_TOKENS]
        found.update(dict.fromkeys(kept))
        barren = 0 if kept else barren + 1
        if barren == 20:
            raise InputError(
                f"only {len(found)} name-like keys could be made of the tokens of "
                f"{pieces.subjects} subjects, and {len(facts)} are needed; "
                "pass more real subjects as avoid"
            )
    return list(found)[: len(facts)]


def _hexadecimal(
    lengths: list[int], tokenizer: PreTrainedTokenizerBase, seed: int
) -> list[str]:
    """Distinct hexadecimal names, the i-th of lengths[i] tokens or as near as was found."""
    rng = random.Random(f"hex {seed}")
    keys: dict[int, str] = {}
    nearest: dict[int, tuple[int, str]] = {}
    taken: set[str] = set()
    for _ in range(_ROUNDS):
        open_rows = [row for row in range(len(lengths)) if row not in keys]
        if not open_rows:
            break
        for row, name, count in _cuts(open_rows, lengths, tokenizer, rng):
            miss = abs(count - lengths[row])
            if miss == 0 and name not in taken:
                keys[row] = name
                taken.add(name)
            elif row not in nearest or miss < nearest[row][0]:
                nearest[row] = (miss, name)
    for row in range(len(lengths)):
        if row not in keys:
            keys[row] = _distinct(nearest[row][1], taken, rng)
            taken.add(keys[row])
    return [keys[row] for row in range(len(lengths))]


def _cuts(
    rows: list[int],
    lengths: list[int],
    tokenizer: PreTrainedTokenizerBase,
    rng: random.Random,
) -> Iterator[tuple[int, str, int]]:
    """For each row a random hexadecimal name cut near its length, and its token count."""
    for begin in range(0, len(rows), _BATCH):
        batch = rows[begin : begin + _BATCH]
        whole = [f"{rng.getrandbits(128):032x}" for _ in batch]
        offsets = tokenizer(
            [f" {name}" for name in whole],
            add_special_tokens=False,
            return_offsets_mapping=True,
        )["offset_mapping"]
        cut = []
        for row, name, spans in zip(batch, whole, offsets, strict=True):
            end = spans[min(lengths[row], len(spans)) - 1][1] - 1
            cut.append(name[: max(end, 2)])
        mixed = [
            bool(re.search("[a-f]", name) and re.search("[0-9]", name)) for name in cut
        ]
        for row, name, fit, count in zip(
            batch, cut, mixed, token_counts(tokenizer, cut), strict=True
        ):
            if fit:
                yield row, name, count


def _distinct(name: str, taken: set[str], rng: random.Random) -> str:
    while name in taken:
        name += f"{rng.getrandbits(4):x}"
    return name
