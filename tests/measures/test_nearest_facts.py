"""Each old fact's nearest new facts: by hand, and of two real recordings."""

import numpy as np
import pytest
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.measures.metrics import METRICS, distances, place
from interfere.measures.nearest_facts import nearest_facts, nearest_new_facts

OLD, NEW = np.array([[0.0], [10], [11]]), np.array([[1.0], [9], [30]])


def test_by_hand_on_a_line():
    table = nearest_facts(OLD, NEW, list("abc"), list("xyz"), k=2, metric="euclidean")
    assert table["old"].tolist() == ["a", "a", "b", "b", "c", "c"]
    assert table["place"].tolist() == [1, 2] * 3
    assert table["new"].tolist() == ["x", "y", "y", "x", "y", "x"]
    assert table["euclidean"].tolist() == [1, 9, 1, 9, 2, 10]
    assert table["among_old"].tolist() == [10, 11, 1, 10, 1, 11]


def test_a_lone_old_fact_has_no_others():
    table = nearest_facts(OLD[:1], NEW, ["a"], list("xyz"), k=2, metric="euclidean")
    assert table["among_old"].isna().all()


@pytest.mark.parametrize("metric", METRICS)
def test_ranks_by_the_metric_and_gives_all(metric):
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(6, 4)), rng.normal(size=(9, 4)) * [1, 9, 1, 1]
    table = nearest_facts(old, new, range(6), range(9), k=9, metric=metric)
    for fact, rows in table.groupby("old"):
        assert rows[metric].is_monotonic_increasing
        for kind in METRICS:
            expected = distances(place(old, new, kind), kind)[fact, rows["new"].astype(int)]
            assert rows[kind].to_numpy() == pytest.approx(expected)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="k must be from 1 to 3 new facts, got 4"):
        nearest_facts(OLD, NEW, list("abc"), list("xyz"), k=4)
    with pytest.raises(InputError, match="new names: expected a label for each of 3"):
        nearest_facts(OLD, NEW, list("abc"), list("xy"))


def test_recordings_give_names(tmp_path):
    old = record(tiny_model(), places()[:9], tmp_path / "old.h5")
    new = record(tiny_model(), places()[9:20], tmp_path / "new.h5")
    table = nearest_new_facts(old=old, new=new, hook="blocks.1.hook_out", k=3)
    assert table.columns[:7].tolist() == [
        "old", "old_subject", "old_answer", "place", "new", "new_subject", "new_answer",
    ]  # fmt: skip
    assert table["old"].tolist() == [i for i in places()[:9].ids for _ in range(3)]
    by_id = {fact.id: fact for fact in places()}
    for row in table.itertuples():
        assert (row.new_subject, row.new_answer) == (
            by_id[row.new].subject,
            by_id[row.new].answer,
        )
        assert row.old_subject == by_id[row.old].subject
    other = record(tiny_model(seed=1), places()[9:20], tmp_path / "other.h5")
    with pytest.raises(InputError, match=r"other.h5: new was recorded with the weights"):
        nearest_new_facts(old=old, new=other, hook="blocks.1.hook_out")


def test_a_fact_at_the_mean_has_other_distances():
    old, new = np.array([[-1.0, 0], [1, 0], [0, 0]]), np.array([[0.0, 1], [0, -1]])
    with pytest.warns(UserWarning, match="cosine distances are NaN: .* at the mean"):
        found = nearest_facts(old, new, list("abc"), list("xy"), k=1, metric="euclidean")
    assert found["cosine"].isna().all()
    assert found["euclidean"].tolist() == pytest.approx([2**0.5, 2**0.5, 1])
