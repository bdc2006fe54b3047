"""Token sets by hand, against Python's sets, and of real names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import places, tiny_model

from interfere.errors import InputError
from interfere.measures.token_overlap import subject_overlap, subject_tokens, token_overlap

SUBJECTS = st.lists(
    st.lists(st.integers(0, 12), min_size=1, max_size=5), min_size=2, max_size=8
)


def test_by_hand():
    found = token_overlap(
        [[1, 2, 3], [4, 4], [7]], [[3, 2], [9, 4], [2, 8, 9]], resamples=50
    )
    assert found.jaccard.tolist() == [2 / 3, 1 / 2, 0]
    assert found.nearest.tolist()[:2] == [0, 1]
    assert found.covered.tolist() == pytest.approx([2 / 3, 1, 0])
    assert found.shares_last.tolist() == [False, True, False]
    assert found.mean_jaccard.value == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert found.share_last.value == pytest.approx(1 / 3)


@settings(deadline=None, max_examples=25)
@given(old=SUBJECTS, new=SUBJECTS, seed=st.integers(0, 100))
def test_is_pythons_sets_and_blind_to_order_of_tokens(old, new, seed):
    found = token_overlap(old, new, resamples=20)
    a, b = [set(s) for s in old], [set(s) for s in new]
    expected = [max(len(x & y) / len(x | y) for y in b) for x in a]
    assert found.jaccard.tolist() == pytest.approx(expected)
    union = set().union(*b)
    assert found.covered.tolist() == pytest.approx([len(x & union) / len(x) for x in a])
    rng = np.random.default_rng(seed)
    mixed = [rng.permutation(s).tolist() for s in old]
    again = token_overlap(mixed, new, resamples=20)
    assert again.jaccard.tolist() == found.jaccard.tolist()


def test_subjects_are_read_in_their_questions():
    model, facts = tiny_model(), places()[:20]
    tokens = subject_tokens(model, facts)
    for fact, ids in zip(facts, tokens, strict=True):
        assert model.tokenizer.decode(ids).strip(" ?") == fact.subject


def test_a_row_an_old_fact():
    model = tiny_model()
    table = subject_overlap(model, places()[:20], places()[20:])
    assert table["fact"].tolist() == places()[:20].ids
    assert table["jaccard"].between(0, 1).all()
    same = subject_overlap(model, places()[:20], places()[:20])
    assert (same["jaccard"] == 1).all()
    assert same["nearest"].tolist() == same["subject"].tolist()
    assert same["shares_last"].all()


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="got no new ones"):
        token_overlap([[1]], [])
    with pytest.raises(InputError, match="old fact 1 has a subject without tokens"):
        token_overlap([[1], []], [[1]])
