import numpy as np
import pytest
from tiny_models import tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from interfere.errors import InputError
from interfere.facts.geonames import geonames
from interfere.facts.matching import surface_forms
from interfere.models.trie import build_tries, line_ends, terminators


def merging_tokenizer():
    """Bytes, and one merge that crosses an answer's end: '.' and newline."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {byte: i for i, byte in enumerate([*alphabet, ".Ċ", "ĊQ"])}
    backend = Tokenizer(models.BPE(vocabulary, [(".", "Ċ"), ("Ċ", "Q")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    )
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def spelt(trie, words, ends):
    """Texts of all paths that end a form, by walking."""
    return {
        words.decode([int(trie.token[n]) for n in trie.path(int(i))])
        for i in np.flatnonzero(ends)
    }


def test_terminators_begin_with_a_newline_or_end_the_text():
    words = tokenizer()
    found = set(np.flatnonzero(terminators(words)))
    texts = {i: words.decode([i]) for i in range(len(words))}
    assert found == {i for i, t in texts.items() if t.startswith("\n")} | {
        words.eos_token_id
    }
    assert found <= set(np.flatnonzero(line_ends(words)))


def test_a_token_that_ends_in_a_newline_is_no_terminator():
    words = merging_tokenizer()
    merged = words.convert_tokens_to_ids(".Ċ")
    assert line_ends(words)[merged]
    assert not terminators(words)[merged]
    assert terminators(words)[words.convert_tokens_to_ids("ĊQ")]


def test_every_form_is_a_path_and_nothing_else_ends():
    words, facts = tokenizer(), geonames(["P17"], limit=300)
    forms = list(dict.fromkeys(surface_forms(fact) for fact in facts))
    for group, trie in zip(forms, build_tries(words, "\nA:", forms), strict=True):
        assert spelt(trie, words, trie.ends) == {f" {form}" for form in group}
        assert not trie.complete.any()


def test_numbering_is_breadth_first_with_neighbouring_children():
    trie = build_tries(
        tokenizer(), "\nA:", [("Guinea", "Guinea-Bissau", "guinea", "Gabon")]
    )[0]
    assert (np.diff(trie.depth) >= 0).all()
    for node in range(len(trie.parent)):
        first, many = trie.first_child[node], trie.children[node]
        own = np.flatnonzero(trie.parent == node)
        assert own[own > 0].tolist() == list(range(first, first + many))


def test_spine_is_the_canonical_answer_as_training_tokenises_it():
    words = tokenizer()
    trie = build_tries(words, "\nA:", [("Guinea-Bissau", "Guinea")])[0]
    assert words.decode(trie.canonical) == " Guinea-Bissau\n"
    assert trie.spine[0] == 0
    assert trie.token[list(trie.spine[1:])].tolist() == list(trie.canonical[:-1])
    assert trie.ends[trie.spine[-1]]


def test_an_end_merged_into_the_answer_is_accepted_both_ways():
    words = merging_tokenizer()
    trie = build_tries(words, "\nA:", [("D.C.", "DC")])[0]
    assert spelt(trie, words, trie.complete) == {" D.C.\n"}
    assert spelt(trie, words, trie.ends) == {" D.C.", " DC"}
    assert words.decode(trie.canonical) == " D.C.\n"
    assert len(trie.spine) == len(trie.canonical)


def test_an_answer_without_tokens_is_refused():
    with pytest.raises(InputError, match="the answer ' ' tokenises to nothing"):
        build_tries(tokenizer(), "\nA:", [(" ",)])
