"""The table by hand, its NaN, and its seeds."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.interventions.asking import Scores
from interfere.interventions.outcomes import Outcomes, outcomes_table

CELLS = pd.DataFrame({"hook": ["a", "b"], "position": "subject_last"})


def outcomes(source, target, cells, right=None, *, answers=None) -> Outcomes:
    source, target, cells = (np.asarray(x, dtype=float) for x in (source, target, cells))
    n = len(source)
    could, does, now = right or (np.ones(n), np.zeros(n), np.zeros(cells.shape))
    return Outcomes(
        cells=CELLS[: len(cells)],
        logprob=cells,
        right=np.asarray(now, dtype=bool),
        source=Scores(source, np.asarray(could, dtype=bool)),
        target=Scores(target, np.asarray(does, dtype=bool)),
        facts=tuple(str(i) for i in range(n)),
        answers=tuple(answers or [str(i) for i in range(n)]),
    )


SOURCE, TARGET = [-1.0, -1, -2, -1], [-3.0, -2, -4, -2]  # fell by 2, 1, 2, 1


def test_by_hand():
    right = (
        [1, 1, 1, 0],  # in the source
        [0, 0, 1, 1],  # in the target
        [[1, 0, 1, 0], [0, 0, 0, 1]],  # under the two changes
    )
    found = outcomes(SOURCE, TARGET, [[-2, -2, -3, -2], SOURCE], right).table(resamples=50)
    assert found["recovered"].tolist() == pytest.approx([2 / 6, 1])
    assert found["gain"].tolist() == pytest.approx([2 / 4, 6 / 4])
    assert found["back"].tolist() == [0.5, 0]
    assert found["broken"].tolist() == [1, 0]
    assert found["kept"].tolist() == [1, 0]
    assert found[["back_of", "broken_of", "kept_of"]].to_numpy().tolist() == [[2, 1, 1]] * 2
    assert found["hook"].tolist() == ["a", "b"]


def test_p_is_of_flipped_signs_and_corrected_over_the_table():
    found = outcomes(SOURCE, TARGET, [TARGET, SOURCE]).table(resamples=50)
    assert found["gain_p"].tolist() == [1, 2 / 2**4]  # 4 answers, all of one sign
    assert found["p_holm"].tolist() == [1, 2 * 2 / 2**4]


def test_nothing_changed_is_0_and_all_put_back_is_1():
    found = outcomes(SOURCE, TARGET, [TARGET, SOURCE]).table(resamples=50)
    ends = found[["recovered", "recovered_low", "recovered_high"]].to_numpy()
    assert ends[0].tolist() == [0, 0, 0]
    assert ends[1] == pytest.approx([1, 1, 1])


def test_equal_models_have_nothing_to_recover():
    with pytest.warns(UserWarning, match="ratio is NaN: its denominator"):
        found = outcomes(SOURCE, SOURCE, [TARGET]).table(resamples=50)
    assert found[["recovered", "recovered_low", "recovered_high"]].isna().all(axis=None)
    assert found["gain"].iloc[0] == pytest.approx(-6 / 4)


def test_a_share_of_no_facts_is_nan():
    n = [1, 1, 1, 1], [1, 1, 1, 1], [[1, 1, 1, 0]]
    found = outcomes(SOURCE, TARGET, [TARGET], n).table(resamples=50).iloc[0]
    assert np.isnan(found["back"])
    assert found["back_of"] == 0
    assert found["kept"] == pytest.approx(3 / 4)


def test_facts_of_one_answer_have_a_share_without_an_interval():
    found = outcomes(SOURCE, TARGET, [SOURCE], answers=list("aaab")).table(resamples=50)
    assert found["back"].iloc[0] == 0
    right = [1, 1, 1, 0], [0, 0, 0, 0], [[1, 1, 0, 0]]
    found = outcomes(SOURCE, TARGET, [SOURCE], right, answers=list("aaab")).table()
    assert found["back"].iloc[0] == pytest.approx(2 / 3)
    assert np.isnan(found["back_low"].iloc[0])


def test_facts_with_one_answer_count_once():
    rng = np.random.default_rng(0)
    answers = [str(i % 20) for i in range(200)]
    level = rng.uniform(size=20)[[i % 20 for i in range(200)]]
    source, target = np.full(200, -1.0), np.full(200, -3.0)
    patched = target + 2 * level
    ends = [
        outcomes(source, target, [patched], answers=labels).table().iloc[0]
        for labels in (answers, None)
    ]
    by_answer, by_fact = (row["recovered_high"] - row["recovered_low"] for row in ends)
    assert by_answer > 2 * by_fact


def test_seeds_are_averaged():
    one = outcomes(SOURCE, TARGET, [SOURCE])
    other = outcomes(SOURCE, TARGET, [TARGET])
    found = outcomes_table([one, other], resamples=50).iloc[0]
    assert found["recovered"] == pytest.approx(0.5)
    assert found["back_of"] == 8


def test_seeds_that_forgot_different_facts_pool_what_they_forgot():
    one = outcomes(SOURCE, TARGET, [SOURCE], ([1] * 4, [0, 1, 1, 1], [[1, 1, 1, 1]]))
    other = outcomes(SOURCE, TARGET, [SOURCE], ([1] * 4, [1, 0, 0, 1], [[1, 0, 1, 1]]))
    found = outcomes_table([one, other], resamples=200).iloc[0]
    assert found["back"] == pytest.approx(2 / 3)
    assert found["back_of"] == 3


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_blind_to_scale_and_shift_of_log_probabilities_and_to_order(seed, scale, shift):
    rng = np.random.default_rng(seed)
    source = -rng.uniform(size=30)
    target, patched = source - 2, source - rng.uniform(0, 2, size=30)
    order = rng.permutation(30)
    plain = outcomes(source, target, [patched]).table(resamples=20).iloc[0]
    rows = [scale * x[order] + shift for x in (source, target, patched)]
    turned = outcomes(rows[0], rows[1], [rows[2]]).table(resamples=20).iloc[0]
    assert turned["recovered"] == pytest.approx(plain["recovered"], abs=1e-9)
    assert turned["gain"] == pytest.approx(scale * plain["gain"], abs=1e-9)


def test_seeds_of_other_facts_are_refused():
    one, other = (
        outcomes(SOURCE, TARGET, [SOURCE]),
        outcomes(SOURCE[:3], TARGET[:3], [SOURCE[:3]]),
    )
    with pytest.raises(InputError, match="the same facts and changes"):
        outcomes_table([one, other])
    with pytest.raises(InputError, match="the same facts and changes"):
        outcomes_table([one, outcomes(SOURCE, TARGET, [SOURCE, SOURCE])])
    with pytest.raises(InputError, match="no outcomes"):
        outcomes_table([])
