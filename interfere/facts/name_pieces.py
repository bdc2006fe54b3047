"""What name-like words are made of: tokens of real subjects, in their letters' order."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache as once

from transformers import PreTrainedTokenizerBase

from interfere.facts.country_names import OTHER_NAMES
from interfere.facts.fact import Fact
from interfere.facts.geonames import city_names, geonames

_HEAD = re.compile(r"[A-Z][a-z]{1,5}")
_TAIL = re.compile(r"[a-z]{2,6}")
_WORD = re.compile(r"[^\W\d_]+")
_CONSONANTS = re.compile(r"[^aeiouy]{4}")
_BEFORE = "of"


def token_counts(tokenizer: PreTrainedTokenizerBase, names: list[str]) -> list[int]:
    """How many tokens each name adds to a text when it follows a space."""
    if not names:
        return []
    before = len(tokenizer(_BEFORE, add_special_tokens=False).input_ids)
    texts = [f"{_BEFORE} {name}" for name in names]
    return [
        len(ids) - before for ids in tokenizer(texts, add_special_tokens=False).input_ids
    ]


@dataclass(frozen=True)
class NamePieces:
    """Tokens of real subjects, and what a word made of them must and must not be."""

    heads: tuple[str, ...]
    """Tokens that begin a word with a capital."""
    tails: tuple[str, ...]
    """Tokens that go on a word."""
    trigrams: frozenset[str]
    """Three letters in a row in a real subject's word; "^" begins a word, "$" ends it."""
    taken: frozenset[str]
    """Real names, their words, and single tokens, in lower case: what a key must not be."""
    subjects: int
    """How many subjects the pieces come from."""

    @classmethod
    def of(cls, facts: Sequence[Fact], tokenizer: PreTrainedTokenizerBase) -> "NamePieces":
        """The pieces of these facts' subjects; only plain Latin letters are used."""
        subjects = list(dict.fromkeys(fact.subject for fact in facts))
        texts = [f"{_BEFORE} {subject}" for subject in subjects]
        offsets = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        heads: dict[str, None] = {}
        tails: dict[str, None] = {}
        for text, spans in zip(texts, offsets["offset_mapping"], strict=True):
            for begin, end in spans:
                piece = text[begin:end].strip()
                begin = end - len(piece)
                if begin <= len(_BEFORE):
                    continue
                if text[begin - 1].isalpha():
                    if _TAIL.fullmatch(piece):
                        tails[piece] = None
                elif _HEAD.fullmatch(piece):
                    heads[piece] = None
        real = [answer for fact in facts for answer in (fact.subject, *fact.answers)]
        vocabulary = (re.sub(r"^\W+", "", token) for token in tokenizer.get_vocab())
        return cls(
            heads=tuple(sorted(heads)),
            tails=tuple(sorted(tails)),
            trigrams=frozenset(t for name in subjects for t in _trigrams(name)),
            taken=_with_words(real) | _geographical() | {v.casefold() for v in vocabulary},
            subjects=len(subjects),
        )

    def draw(self, rng: random.Random) -> str:
        """A head and one to three tails at random; "" where there are no pieces."""
        if not (self.heads and self.tails):
            return ""
        tails = (rng.choice(self.tails) for _ in range(rng.randint(1, 3)))
        return rng.choice(self.heads) + "".join(tails)

    def name_like(self, word: str) -> bool:
        """4 to 14 letters in an order that real subjects have, and no real name."""
        lower = word.lower()
        return (
            4 <= len(word) <= 14
            and lower not in self.taken
            and not _CONSONANTS.search(lower)
            and not re.search(r"(.)\1\1", lower)
            and re.search("[aeiouy]", lower) is not None
            and self.trigrams.issuperset(_trigrams(word))
        )


def _trigrams(name: str) -> Iterable[str]:
    for word in _WORD.findall(name.lower()):
        framed = f"^{word}$"
        yield from (framed[i : i + 3] for i in range(len(framed) - 2))


def _with_words(names: Iterable[str]) -> frozenset[str]:
    lower = {name.casefold() for name in names}
    return frozenset(lower | {word for name in lower for word in _WORD.findall(name)})


@once
def _geographical() -> frozenset[str]:
    countries = {fact.subject for fact in geonames(["P30"])}
    others = {name for names in OTHER_NAMES.values() for name in names}
    return _with_words(city_names() | countries | others)
