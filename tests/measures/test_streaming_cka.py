"""Batches give what the whole gives, however the rows fall into them."""

import numpy as np
import pytest
from gaussian import changed, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.cka import cka
from interfere.measures.streaming_cka import StreamingCKA, streaming_cka


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(0, 30), max_size=5),
    d=st.sampled_from([1, 3, 80]),
    offset=st.floats(-1e3, 1e3),
)
def test_streaming_equals_whole(seed, cuts, d, offset):
    before, after = changed(seed, 30, d)
    before += offset
    batches = zip(*(np.split(side, sorted(cuts)) for side in (before, after)), strict=True)
    found = streaming_cka(batches)
    assert found.value == pytest.approx(cka(before, after).value, abs=1e-9)
    assert found.facts == 30


def test_batches_far_apart_are_no_worse():
    # The first batch's mean, which is subtracted, is here nowhere near that of all.
    before, after = changed(0, 60, 4)
    before[:20] += 100
    after[:20] -= 50
    found = streaming_cka([(before[i : i + 20], after[i : i + 20]) for i in (0, 20, 40)])
    assert found.value == pytest.approx(cka(before, after).value, abs=1e-9)


def test_it_can_be_read_and_go_on():
    before, after = changed(0, 20, 3)
    found = StreamingCKA()
    found.update(before[:12], after[:12])
    assert found.result().value == pytest.approx(cka(before[:12], after[:12]).value)
    found.update(before[12:], after[12:])
    assert found.result().value == pytest.approx(cka(before, after).value)


@pytest.mark.parametrize("side", [np.full((9, 2), 1e4 + 1 / 3), np.eye(9)])
def test_a_side_that_says_nothing_is_nan(side):
    with pytest.warns(UserWarning, match="NaN: one side is constant"):
        found = streaming_cka(
            [(side[:4], gaussian(0, 4, 2)), (side[4:], gaussian(1, 5, 2))]
        )
    assert np.isnan(found.value)


def test_a_refused_batch_is_not_counted():
    before, after = changed(0, 20, 3)
    broken = after[10:].copy()
    broken[2, 0] = np.nan
    found = StreamingCKA()
    found.update(before[:10], after[:10])
    with pytest.raises(InputError, match="after, from fact 10: fact 2 has a NaN"):
        found.update(before[10:], broken)
    with pytest.raises(InputError, match=r"of \(3, 4\) and of \(3, 5\) dimensions differ"):
        found.update(before[10:], gaussian(0, 10, 5))
    with pytest.raises(InputError, match="got 10 and 9 rows"):
        found.update(before[10:], after[11:])
    found.update(before[10:], after[10:])
    assert found.result().value == pytest.approx(cka(before, after).value)


def test_too_few_facts_are_refused():
    with pytest.raises(InputError, match="4 or more facts, got 3"):
        streaming_cka([(gaussian(0, 3, 2), gaussian(1, 3, 2))])
    with pytest.raises(InputError, match="4 or more facts, got 0"):
        streaming_cka([])
