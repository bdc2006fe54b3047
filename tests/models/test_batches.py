"""Which rows run together, and where their padding stands."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from interfere.models.batches import batches_by_length, padded_on_the_left


def test_by_hand():
    assert list(batches_by_length([3, 1, 2, 3, 9], 6)) == [[1, 2], [0, 3], [4]]
    assert list(batches_by_length([], 6)) == []


@given(lengths=st.lists(st.integers(1, 30)), room=st.integers(1, 100))
def test_each_row_runs_once_and_no_batch_could_take_the_next(lengths, room):
    found = list(batches_by_length(lengths, room))
    order = [i for batch in found for i in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    assert all(len(b) == 1 or len(b) * lengths[b[-1]] <= room for b in found)
    for batch, after in pairwise(found):
        assert (len(batch) + 1) * lengths[after[0]] > room


def test_padding_stands_on_the_left():
    ids, real = padded_on_the_left([[5], [6, 7, 8]], pad=9)
    assert ids.tolist() == [[9, 9, 5], [6, 7, 8]]
    assert real.tolist() == [[0, 0, 1], [1, 1, 1]]
