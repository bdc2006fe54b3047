"""Lost, gained, forgotten, and compared where as much was learnt: all by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures.behaviour import (
    at_plasticity,
    behaviour,
    behavioural_interference,
    crossing,
    forgetting,
)


def test_lost_and_gained_by_hand():
    before = np.array([True, True, True, False, False])
    after = np.array([True, False, False, True, False])
    found = behaviour(before, after)
    assert (found.facts, found.right_before, found.right_after) == (5, 3, 2)
    assert (found.lost, found.gained) == (2, 1)
    assert found.net_loss == pytest.approx(1 / 5)
    assert found.per_fact.tolist() == [0, 1, 1, -1, 0]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_net_loss_is_the_fall_in_accuracy(pairs):
    before, after = np.array(pairs).T
    found, back = behaviour(before, after), behaviour(after, before)
    assert found.net_loss == pytest.approx(before.mean() - after.mean())
    assert found.net_loss == pytest.approx(found.per_fact.mean())
    assert found.net_loss == -back.net_loss
    assert -1 <= found.net_loss <= 1


def test_other_facts_are_refused():
    with pytest.raises(InputError, match="same items, got before 3, after 4"):
        behaviour(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(InputError, match="got before 0, after 0"):
        behaviour(np.ones(0, bool), np.ones(0, bool))


def test_forgetting_by_hand():
    assert forgetting(np.array([0.2, 0.8, 0.6])) == pytest.approx(0.25)
    assert forgetting(np.array([0.2, 0.8])) == 0
    assert forgetting(np.array([4, 0])) == 1


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=20), st.floats(0.1, 10))
def test_forgetting_is_a_share_of_the_peak(curve, scale):
    values = np.array(curve)
    assert 0 <= forgetting(values) <= 1
    assert forgetting(scale * values) == pytest.approx(forgetting(values), abs=1e-12)


def test_nothing_to_forget_is_nan():
    with pytest.warns(UserWarning, match="NaN: nothing was ever right"):
        assert np.isnan(forgetting(np.zeros(3)))


@pytest.mark.parametrize(("curve", "got"), [([], "nothing"), ([0.1, np.nan], "NaN at 1")])
def test_a_broken_curve_is_refused(curve, got):
    with pytest.raises(InputError, match=f"curve: expected a number .*, got {got}"):
        forgetting(np.array(curve))
    with pytest.raises(InputError, match=f"plasticity: .*, got {got}"):
        crossing(np.array(curve), 0.5)


def test_behavioural_interference_by_hand():
    before, after = np.array([-1.0, -2]), np.array([-4.0, -2])
    control = np.array([-1.5, -1])
    found = behavioural_interference(before, after, before, control)
    assert found.per_fact == pytest.approx([2.5, 1])
    assert found.value == pytest.approx(1.75)


def test_behavioural_interference_of_the_control_itself_is_zero():
    a, b = np.random.default_rng(0).normal(size=(2, 9))
    assert behavioural_interference(a, b, a, b).value == 0


def test_an_infinite_log_probability_is_refused():
    fine = np.zeros(3)
    with pytest.raises(InputError, match=r"control_after: .* of fact 2 isn't finite"):
        behavioural_interference(fine, fine, fine, np.array([0, 0, -np.inf]))
    with pytest.raises(
        InputError, match="before 3, after 3, control_before 3, control_after 2"
    ):
        behavioural_interference(fine, fine, fine, fine[:2])


def test_crossing_between_two_evaluations_by_hand():
    there = crossing(np.array([0.0, 0.4, 0.8, 0.3]), 0.5)
    assert (there.reached, there.left, there.right) == (True, 1, 2)
    assert there.weight == pytest.approx(0.25)
    assert there.of(np.array([9.0, 1, 2, 9])) == pytest.approx(1.25)


def test_outcomes_a_fact_stay_outcomes_a_fact():
    there = crossing(np.array([0.0, 1.0]), 0.5)
    assert there.of(np.array([[1, 0, 1], [0, 0, 1]])) == pytest.approx([0.5, 0, 1])


def test_starting_at_the_level_is_crossing_at_the_start():
    assert at_plasticity(np.array([0.5, 0.9]), np.array([3.0, 4]), 0.5).value == 3
    assert at_plasticity(np.array([0.7, 0.4]), np.array([3.0, 4]), 0.5).value == 3


def test_an_evaluation_at_the_level_is_taken_as_it_is():
    found = at_plasticity(np.array([0, 0.5, 0.9]), np.array([1.0, 2, 3]), 0.5)
    assert found.value == 2


def test_the_end_is_always_reached():
    found = at_plasticity(np.array([0.0, 0.1]), np.array([1.0, 2]), "end")
    assert (found.value, found.reached) == (2, True)


def test_not_reached_is_a_value_of_its_own():
    found = at_plasticity(np.array([0.0, 0.4]), np.array([1.0, 2]), 0.5)
    assert not found.reached
    assert np.isnan(found.value)
    outcomes = np.ones((2, 3))
    assert np.isnan(crossing(np.array([0.0, 0.4]), 0.5).of(outcomes)).tolist() == [True] * 3


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 1))
def test_plasticity_itself_is_at_the_level_there(curve, level):
    values = np.array(curve)
    found = at_plasticity(values, values, level)
    assert found.reached == (values.max() >= level)
    if found.reached:
        assert found.value == pytest.approx(max(level, values[0]))


def test_curves_of_other_steps_are_refused():
    with pytest.raises(InputError, match="got plasticity 2, values 3"):
        at_plasticity(np.zeros(2), np.zeros(3), 0.5)
    with pytest.raises(InputError, match=r"values: .* got NaN at 0"):
        at_plasticity(np.zeros(2), np.array([np.nan, 1]), 0.5)
