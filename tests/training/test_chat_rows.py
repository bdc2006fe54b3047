"""Conversations as rows: the assistant's words and their end are learnt, nothing else is."""

import pytest
import torch
from chat_templates import FORGETFUL, TURNS, with_template
from datasets import Dataset
from tiny_models import places, tiny_model
from transformers import TrainingArguments

from interfere.errors import InputError
from interfere.facts.chat import conversation, conversations
from interfere.training.chat_rows import chat_rows
from interfere.training.rows import IGNORED, collate
from interfere.training.trainer import InterferenceTrainer

TWO_TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is Paris?"},
    {"role": "assistant", "content": "France"},
    {"role": "user", "content": "And Rome?"},
    {"role": "assistant", "content": "Italy"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return with_template(tiny_model().tokenizer)


def learnt(row, tokenizer) -> str:
    return tokenizer.decode([label for label in row["labels"] if label != IGNORED])


def test_what_the_assistant_says_is_learnt_with_its_end(tokenizer):
    (row,) = chat_rows([{"messages": TWO_TURNS}], tokenizer)
    end = tokenizer.eos_token
    assert learnt(row, tokenizer) == f"France{end}Italy{end}"
    whole = tokenizer.apply_chat_template(TWO_TURNS, tokenize=False)
    assert tokenizer.decode(row["input_ids"]) == whole
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    assert all(label in (IGNORED, token) for token, label in pairs)


def test_a_hugging_face_dataset_gives_the_same_rows(tokenizer):
    rows = conversations(places()[:5])
    assert chat_rows(Dataset.from_list(rows), tokenizer) == chat_rows(rows, tokenizer)


def test_a_fact_in_two_turns():
    fact = places()[0]
    turns = conversation(fact, system="Answer.")
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]
    assert fact.subject in turns[1]["content"]
    assert turns[2]["content"] == fact.answer


def test_training_on_them_learns_the_answers(tokenizer, tmp_path):
    model = tiny_model().copy()
    rows = chat_rows(conversations(places()[:8]), tokenizer)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8,
        max_steps=60,
        learning_rate=3e-3,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    InterferenceTrainer(
        model.network, arguments, train_dataset=rows, data_collator=collate
    ).train()
    batch = collate(rows)
    with torch.no_grad():
        said = model.network(batch["input_ids"]).logits[:, :-1].argmax(-1)
    wanted = batch["labels"][:, 1:]
    assert (said == wanted)[wanted != IGNORED].float().mean() > 0.95


@pytest.mark.parametrize(
    ("rows", "template", "message"),
    [
        ([], TURNS, "no conversations"),
        ([{"text": "hello"}], TURNS, "row 0 has no column 'messages'"),
        (
            [{"messages": TWO_TURNS}, {"messages": TWO_TURNS[:2]}],
            TURNS,
            "row 1: no message",
        ),
        ([{"messages": [{"role": "assistant"}]}], TURNS, "row 0: each message needs"),
        ([{"messages": TWO_TURNS}], None, "row 0: the tokenizer has no chat template"),
        ([{"messages": TWO_TURNS}], FORGETFUL, "row 0: the chat template writes message 2"),
        (
            [{"messages": TWO_TURNS}],
            "{{ raise_exception('no') }}",
            "row 0: the chat template",
        ),
    ],
)
def test_bad_input_names_the_row(rows, template, message):
    tokenizer = with_template(tiny_model().tokenizer, template)
    with pytest.raises(InputError, match=message):
        chat_rows(rows, tokenizer)


def test_a_long_row_is_named(tokenizer):
    with pytest.raises(InputError, match=r"row 0 takes .* tokens, there is room for 5"):
        chat_rows([{"messages": TWO_TURNS}], tokenizer, longest=5)
