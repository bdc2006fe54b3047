import re
import uuid
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from interfere.errors import InputError
from interfere.facts import questions
from interfere.facts.fact import Fact, FactSet
from interfere.facts.geonames import city_names, geonames
from interfere.facts.keys import SEMANTIC_TOKENS, synthetic_keys
from interfere.facts.name_pieces import token_counts


@cache
def cities() -> FactSet:
    return geonames(limit=4000)


@cache
def byte_level() -> PreTrainedTokenizerFast:
    """2,000 tokens, trained on questions and hexadecimal lines, like the shipped one."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return _trained(backend, pre_tokenizers.ByteLevel.alphabet())


@cache
def metaspace() -> PreTrainedTokenizerFast:
    """As sentencepiece's: "▁" stands for a space, and one is put first."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return _trained(backend, [])


def _trained(backend: Tokenizer, alphabet: list[str]) -> PreTrainedTokenizerFast:
    texts = [questions.prompt(fact) + questions.target(fact.answer) for fact in cities()]
    texts += [f" {uuid.uuid5(uuid.NAMESPACE_URL, str(i)).hex}" for i in range(2000)]
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<end>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")


def lengths(facts: FactSet, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    return token_counts(tokenizer, [fact.subject for fact in facts])


@pytest.mark.parametrize("tokenizer", [byte_level, metaspace])
def test_semantic_keys_look_like_names_and_are_none(tokenizer):
    facts = cities()[2000:3000]
    keys = synthetic_keys(facts, "semantic", tokenizer(), seed=0, avoid=cities())
    names = [fact.subject for fact in keys]
    real = city_names() | {a.casefold() for fact in cities() for a in fact.answers}
    assert len(set(names)) == 1000
    for name in names:
        assert re.fullmatch("[A-Z][a-z]{3,13}", name)
        assert re.search("[aeiouy]", name.lower())
        assert not re.search(r"[^aeiouy]{4}|(.)\1\1", name.lower())
        assert name.casefold() not in real
    assert set(lengths(keys, tokenizer())) <= set(SEMANTIC_TOKENS)
    vocabulary = {re.sub(r"^\W+", "", token).lower() for token in tokenizer().get_vocab()}
    assert vocabulary.isdisjoint(name.lower() for name in names)


def test_only_subject_id_and_popularity_change():
    facts = cities()[:50]
    keys = synthetic_keys(facts, "semantic", byte_level(), seed=3)
    assert keys.source == "geonames:semantic:3"
    for old, new in zip(facts, keys, strict=True):
        assert new.popularity is None
        assert old == replace(
            new, id=old.id, subject=old.subject, popularity=old.popularity
        )
    assert set(keys.ids).isdisjoint(facts.ids)
    assert keys.attribution == facts.attribution


@pytest.mark.parametrize("kind", ["semantic", "hex", "uuid"])
def test_a_seed_fixes_the_keys(kind):
    facts = cities()[:200]
    first, again, other = (
        synthetic_keys(facts, kind, byte_level(), seed=s, avoid=cities()) for s in (0, 0, 1)
    )
    assert first.digest == again.digest
    assert len({f.subject for f in first} & {f.subject for f in other}) < 20


@pytest.mark.parametrize("tokenizer", [byte_level, metaspace])
def test_hex_keys_have_as_many_tokens_row_by_row(tokenizer):
    facts = cities()[:1000]
    semantic = synthetic_keys(facts, "semantic", tokenizer(), seed=0)
    hexadecimal = synthetic_keys(facts, "hex", tokenizer(), seed=0)
    names = [fact.subject for fact in hexadecimal]
    assert len(set(names)) == 1000
    assert all(re.fullmatch("(?=.*[a-f])(?=.*[0-9])[0-9a-f]+", name) for name in names)
    assert lengths(semantic, tokenizer()) == lengths(hexadecimal, tokenizer())
    # The same holds of whole prompts, which is what a model sees.
    for a, b in zip(semantic, hexadecimal, strict=True):
        sizes = [len(tokenizer()(questions.prompt(fact)).input_ids) for fact in (a, b)]
        assert sizes[0] == sizes[1]


def test_uuid_keys_are_uuids():
    keys = synthetic_keys(cities()[:100], "uuid", byte_level(), seed=0)
    assert all(uuid.UUID(fact.subject).version == 4 for fact in keys)
    assert all(str(uuid.UUID(fact.subject)) == fact.subject for fact in keys)


def test_ten_thousand_keys_from_a_thousand_subjects():
    facts = cities()[:1000]
    copies = (
        replace(fact, id=f"{fact.id}{i}", relation=f"R{i}", question=f"{fact.subject}?")
        for i in range(10)
        for fact in facts
    )
    many = FactSet(tuple(copies), "many")
    assert (
        len({f.subject for f in synthetic_keys(many, "semantic", byte_level(), seed=0)})
        == 10**4
    )


def test_a_question_of_its_own_names_the_key():
    fact = Fact("0", "Oslo", "mine", "Norway", question="Is Oslo in Oslofjord's country?")
    facts = FactSet((fact,), "mine")
    key = synthetic_keys(facts, "semantic", byte_level(), seed=0, avoid=cities())[0]
    assert key.question == f"Is {key.subject} in Oslofjord's country?"


def test_counts_of_answers_stay():
    facts = cities()[:300]
    keys = synthetic_keys(facts, "hex", byte_level(), seed=0)
    assert Counter(f.answer for f in keys) == Counter(f.answer for f in facts)


@pytest.mark.usefixtures("types_unchecked")
def test_bad_input():
    facts = cities()[:3]
    with pytest.raises(
        InputError, match="unknown kind of key 'word'; there are semantic, hex"
    ):
        synthetic_keys(facts, "word", byte_level(), seed=0)
    few = FactSet(tuple(Fact(str(i), "Oslo", f"R{i}", "x") for i in range(9)), "few")
    with pytest.raises(InputError, match="of 1 subjects, and 9 are needed; pass more real"):
        synthetic_keys(few, "semantic", byte_level(), seed=0)


def test_no_facts_no_keys():
    for kind in ("semantic", "hex", "uuid"):
        assert len(synthetic_keys(cities()[:0], kind, byte_level(), seed=0)) == 0
