"""Which tokens are trained on, and in which order."""

import pytest
from tiny_models import places, tokenizer

from interfere.errors import InputError
from interfere.training.rows import IGNORED, FactRows, SeededOrder, collate


def test_labels_are_the_answer_and_its_end():
    facts = places()[:5]
    for fact, row in zip(facts, FactRows(facts, tokenizer()), strict=True):
        labelled = [token for token in row["labels"] if token != IGNORED]
        assert tokenizer().decode(labelled) == f" {fact.answer}\n"
        assert row["input_ids"][-len(labelled) :] == labelled
        assert tokenizer().decode(row["input_ids"]).startswith("Q: Which country")


def test_padding_is_on_the_right_and_unlabelled():
    rows = [{"input_ids": [5, 6], "labels": [-100, 6]}, {"input_ids": [7], "labels": [7]}]
    batch = {name: values.tolist() for name, values in collate(rows, pad=9).items()}
    assert batch["input_ids"] == [[5, 6], [7, 9]]
    assert batch["attention_mask"] == [[1, 1], [1, 0]]
    assert batch["labels"] == [[-100, 6], [7, -100]]


def test_order_depends_on_count_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = SeededOrder(range(20), seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 0) == order(0, 0)
    assert sorted(order(1, 4)) == list(range(20))
    assert len({tuple(order(s, e)) for s in range(3) for e in range(3)}) == 9


def test_no_facts_and_too_long_rows_are_refused():
    with pytest.raises(InputError, match="no facts to train on"):
        FactRows(places()[:0], tokenizer())
    with pytest.raises(InputError, match=r"take .* tokens, the model has room for 4"):
        FactRows(places()[:3], tokenizer(), longest=4)
