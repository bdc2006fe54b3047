"""Near-duplicates stay together, classes are spread, small ones are left out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.folds import fact_folds, make_folds
from interfere.measures.near_duplicates import near_duplicates


def facts(answers: list[str], subjects: list[str] | None = None) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    names = ["".join(rng.choice(letters, 12)) for _ in answers]
    return pd.DataFrame(
        {"subject": subjects or names, "relation": "P17", "answer": answers}
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("San José", "San Jose", True),
        ("PARIS", "Paris", True),
        ("New York", "New York City", True),
        ("Fort Worth", "Fort Wayne", False),
        ("Kingston", "Springfield", False),
        ("O", "Å", False),
    ],
)
def test_near_duplicates(one, other, same):
    first, second = near_duplicates([one, other])
    assert (first == second) == same


def test_a_chain_is_one_group():
    groups = near_duplicates(["abcdefgh", "cdefghij", "efghijkl", "zzzz"], least=0.3)
    assert groups.tolist() == [0, 0, 0, 1]


def test_the_index_is_jaccards_on_trigrams():
    def trigrams(word: str) -> set[str]:
        padded = f" {word} "
        return {padded[i : i + 3] for i in range(len(padded) - 2)}

    one, other = trigrams("hamburg"), trigrams("homburg")
    index = len(one & other) / len(one | other)
    below, above = (
        near_duplicates(["hamburg", "homburg"], least=index + d) for d in (-1e-6, 1e-6)
    )
    assert below[0] == below[1]
    assert above[0] != above[1]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), count=st.integers(3, 6))
def test_no_group_is_on_both_sides(seed, count):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 3, 150), rng.integers(0, 60, 150)
    folds = make_folds(labels, groups, count=count, seed=seed)
    places = pd.Series(folds.fold).groupby(groups[folds.rows]).nunique()
    assert (places == 1).all()
    assert set(folds.fold) == set(range(count))


def test_classes_are_spread_evenly():
    table = facts(["a"] * 50 + ["b"] * 25)
    folds = fact_folds(table)
    for k in range(5):
        assert np.bincount(folds.codes[folds.fold == k]).tolist() == [10, 5]
    assert folds.chance == pytest.approx(2 / 3)


def test_near_duplicate_subjects_are_tested_together():
    table = facts(["a"] * 30 + ["b"] * 30)
    table.loc[30:39, "subject"] = [f"{name}s" for name in table.loc[0:9, "subject"]]
    fold = fact_folds(table).fold
    assert (fold[30:40] == fold[:10]).all()


def test_other_labels_keep_an_answer_together():
    table = facts([f"answer {i // 4}" for i in range(120)])
    folds = fact_folds(table, np.where(np.arange(120) < 60, "known", "unknown"))
    assert (folds.fold.reshape(-1, 4) == folds.fold[::4, None]).all()
    assert folds.classes == ["known", "unknown"]


def test_small_classes_are_left_out():
    table = facts(["a"] * 20 + ["rare"] * 19 + ["b"] * 20)
    folds = fact_folds(table)
    assert folds.classes == ["a", "b"]
    assert folds.rows.tolist() == [*range(20), *range(39, 59)]
    assert folds.facts == 59
    x = np.arange(118.0).reshape(59, 2)
    assert (folds.kept(x, "x") == x[folds.rows]).all()
    assert folds.labels(table["answer"], "answers").tolist() == ["a"] * 20 + ["b"] * 20


def test_a_class_of_one_subject_is_left_out():
    """Twenty spellings of one place are one place: nothing is left to be tested on."""
    table = facts(["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    table.loc[40:, "subject"] = [f"Springfield {'I' * i}" for i in range(20)]
    assert fact_folds(table).classes == ["a", "b"]


def test_too_few_classes_are_refused():
    with pytest.raises(InputError, match=r"two classes of 20 facts .* got 1 \(the largest"):
        fact_folds(facts(["a"] * 40 + ["b"] * 19))


def test_two_folds_are_refused():
    with pytest.raises(InputError, match="3 folds or more, got 2"):
        fact_folds(facts(["a"] * 40 + ["b"] * 20), count=2)


def test_missing_labels_and_other_facts_are_refused():
    with pytest.raises(InputError, match="labels: fact 3 has no label"):
        make_folds(["a"] * 3 + [None] + ["b"] * 3, range(7))
    folds = fact_folds(facts(["a"] * 20 + ["b"] * 20))
    with pytest.raises(
        InputError, match="hook: expected a row for each of 40 facts, got 4"
    ):
        folds.kept(np.ones((4, 2)), "hook")
    with pytest.raises(InputError, match="clusters: expected a label for each of 40"):
        folds.labels(["a"], "clusters")
