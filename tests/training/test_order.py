"""Own rows keep their moments; added rows come in turn, or last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.training.order import BesideOrder, LastOrder
from interfere.training.rows import SeededOrder


@given(
    rows=st.integers(1, 60),
    added=st.integers(1, 20),
    batch=st.integers(1, 12),
    beside=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_own_rows_come_as_without(rows, added, batch, beside, seed):
    order, plain = (
        BesideOrder(rows, added, batch, beside, seed),
        SeededOrder(range(rows), seed),
    )
    seen = []
    for epoch in range(3):
        order.set_epoch(epoch)
        plain.set_epoch(epoch)
        found, own = list(order), list(plain)
        assert len(found) == len(order)
        size = batch + beside
        batches = [found[i : i + size] for i in range(0, len(found), size)]
        expected = [own[i : i + batch] for i in range(0, rows, batch)]
        assert [[i for i in b if i < rows] for b in batches] == expected
        seen += [i for i in found if i >= rows]
    for turn in range(0, len(seen), added):  # each once before any comes again
        part = seen[turn : turn + added]
        assert len(set(part)) == len(part)
    assert {i for i in seen if i >= rows + added} == set()


@pytest.mark.parametrize("at_end", [True, False])
def test_patch_stands_for_the_same_rows_in_both_orders(at_end):
    order = LastOrder(20, 4, epoch=2, used=16, seed=3, at_end=at_end)
    plain = SeededOrder(range(20), 3)
    for epoch in range(3):
        order.set_epoch(epoch)
        plain.set_epoch(epoch)
        found, own = list(order), list(plain)
        assert len(found) == len(order) == 20
        if epoch < 2:
            assert found == own
    assert sorted(found[:16]) == sorted([*own[:12], 20, 21, 22, 23])
    assert (sorted(found[12:16]) == [20, 21, 22, 23]) == at_end
    assert found[16:] == own[16:]


def test_a_patch_larger_than_the_epoch_is_refused():
    with pytest.raises(
        InputError, match="5 rows can't stand for some of the last epoch's 4"
    ):
        LastOrder(20, 5, epoch=0, used=4, seed=0, at_end=True)
