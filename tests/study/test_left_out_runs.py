"""From blame to runs to the comparison, small, on nano."""

import pandas as pd
import pytest
from small_study import small_study

from interfere.errors import InputError
from interfere.interventions.leave_out import blame_effect, leave_out
from interfere.measures.fact_overlap import new_distance
from interfere.study.left_out_runs import left_out_jobs, run_left_out
from interfere.study.preparation import prepare

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    sizes = ("facts.limit=900", "split.held_out=60", "split.control=0")
    home = tmp_path_factory.mktemp("cache")
    with small_study(home, *sizes, "train.epochs=3", "workers=1") as study:
        yield prepare(study)


@pytest.fixture(scope="module")
def left(prepared):
    place = (prepared.hook, "subject_last")
    new = prepared.recording("unknown", prepared.split.unknown)[place].numpy()
    old = prepared.recording("held_out", prepared.split.held_out)[place].numpy()
    nearness = -new_distance(new, old, neighbours=5)
    blame = dict(zip(prepared.split.unknown.ids, nearness, strict=True))
    return {0: leave_out(prepared.split, blame, 16, draws=2)}


def test_jobs_differ_in_what_is_left_out_alone(prepared, left):
    jobs = left_out_jobs(prepared, "SFT", left)
    assert list(jobs) == [
        ("none", 0, 0),
        ("blamed", 0, 0),
        ("random", 0, 0),
        ("random", 1, 0),
    ]
    assert {job.steps for job in jobs.values()} == {9}
    assert [len(job.split.unknown) for job in jobs.values()] == [48, 32, 32, 32]
    assert len({job.folder for job in jobs.values()}) == 4


def test_the_runs_give_a_comparison(prepared, left):
    outcomes = run_left_out(prepared, "SFT", left)
    assert len(outcomes) == 4 * 60
    starts = outcomes.pivot_table(
        index="fact", columns=["left_out", "draw"], values="before"
    )
    assert (starts.nunique(axis=1) == 1).all()  # every run from one checkpoint
    found = blame_effect(outcomes, "nats")
    ends = outcomes.groupby(["left_out", "draw"])["after"].mean()
    random = ends["random"].mean()
    assert found.beyond_random.value == pytest.approx(ends["blamed", 0] - random)
    assert found.p_value in (pytest.approx(1 / 3), pytest.approx(2 / 3), 1)
    assert ends.nunique() == 4


def test_a_second_time_nothing_is_trained(prepared, left, monkeypatch):
    first = run_left_out(prepared, "SFT", left)
    monkeypatch.setattr("interfere.study.run._execute", None)
    pd.testing.assert_frame_equal(run_left_out(prepared, "SFT", left), first)


def test_an_arm_without_new_facts_and_an_unknown_seed_are_refused(prepared, left):
    with pytest.raises(InputError, match="'Known only' learns no new facts"):
        left_out_jobs(prepared, "Known only", left)
    with pytest.raises(InputError, match="no seed 7"):
        left_out_jobs(prepared, "SFT", {7: left[0]})
