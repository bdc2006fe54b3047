import pytest
from tiny_models import places, tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from interfere.errors import InputError
from interfere.facts import questions
from interfere.models.encoding import (
    encode_continuations,
    encode_prompts,
    start_tokens,
    subject_spans,
)


def prompts() -> list[str]:
    return [questions.prompt(fact) for fact in places()]


def with_start() -> PreTrainedTokenizerFast:
    """The same tokens, with a start token before each text, as Llama's and Gemma's have."""
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer().backend_tokenizer.from_str(
            tokenizer().backend_tokenizer.to_str()
        ),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
    )
    words.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", words.eos_token_id)]
    )
    return words


def test_start_tokens():
    assert start_tokens(tokenizer()) == []
    assert start_tokens(with_start()) == [with_start().bos_token_id]


@pytest.mark.parametrize("words", [tokenizer, with_start])
def test_prompts_are_what_the_tokenizer_makes_of_them(words):
    assert encode_prompts(words(), prompts()) == words()(prompts()).input_ids
    assert encode_prompts(words(), []) == []


@pytest.mark.parametrize("words", [tokenizer, with_start])
def test_prompt_and_continuation_make_the_whole(words):
    targets = [questions.target(fact.answer) for fact in places()]
    heads = encode_prompts(words(), prompts())
    tails = encode_continuations(words(), prompts(), targets)
    wholes = words()([p + t for p, t in zip(prompts(), targets, strict=True)]).input_ids
    assert [h + t for h, t in zip(heads, tails, strict=True)] == wholes


def test_a_continuation_that_would_merge_is_tokenised_alone():
    # One token in one piece, so the prompt's last token would be another.
    words = tokenizer()
    assert len(words("located").input_ids) < len(words("loc").input_ids) + len(
        words("ated").input_ids
    )
    [ids] = encode_continuations(words, ["loc"], ["ated"])
    assert ids == words("ated").input_ids
    assert words.decode(words("loc").input_ids + ids) == "located"


def test_a_continuation_of_nothing_is_refused():
    with pytest.raises(InputError, match="'' tokenises to nothing"):
        encode_continuations(tokenizer(), ["Q:"], [""])


@pytest.mark.parametrize("words", [tokenizer, with_start])
def test_spans_begin_and_end_with_the_subject(words):
    subjects = [fact.subject for fact in places()]
    ids = encode_prompts(words(), prompts())
    spans = subject_spans(words(), prompts(), subjects)
    for row, (first, last), subject in zip(ids, spans, subjects, strict=True):
        text = words().decode(row[: last + 1], skip_special_tokens=True)
        assert text.endswith(subject)
        before = words().decode(row[:last], skip_special_tokens=True)
        assert not before.endswith(subject)
        assert words().decode(row[first : last + 1]).strip() == subject


def test_subject_of_several_bytes_a_letter():
    prompt = "Q: Which country is Łódź located in?\nA:"
    [ids] = encode_prompts(tokenizer(), [prompt])
    [(first, last)] = subject_spans(tokenizer(), [prompt], ["Łódź"])
    assert tokenizer().decode(ids[first : last + 1]).strip() == "Łódź"


def test_the_last_occurrence_counts_and_the_answers_mark_does_not():
    shots = questions.few_shot_prefix(places()[:1])
    subject = [places()[0].subject]
    alone = subject_spans(tokenizer(), prompts()[:1], subject)
    after = subject_spans(tokenizer(), [shots + prompts()[0]], subject)
    assert (after == alone + len(tokenizer()(shots).input_ids)).all()
    single = "Q: Which country is A located in?\nA:"
    [(_, last)] = subject_spans(tokenizer(), [single], ["A"])
    assert tokenizer().decode(tokenizer()(single).input_ids[: last + 1]).endswith("is A")


def test_a_prompt_without_its_subject_is_refused():
    for subject in ("Atlantis", ""):
        with pytest.raises(InputError, match="does not hold its subject"):
            subject_spans(tokenizer(), prompts()[:1], [subject])
