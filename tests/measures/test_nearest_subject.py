"""Wrong answers that are planted to be the nearest new subject's, and some that aren't."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.measures.nearest_subject import nearest_subject_share


def new_facts(answers: Sequence[str], **aliases: tuple[str, ...]) -> FactSet:
    return FactSet(
        tuple(
            Fact(f"id {i}", f"new {i}", "P17", answer, aliases.get(answer, ()))
            for i, answer in enumerate(answers)
        ),
        "test",
    )


RNG = np.random.default_rng(0)
NEW = RNG.normal(size=(30, 8))
NEAREST = RNG.integers(0, 30, size=40)
OLD = NEW[NEAREST] + 0.05 * RNG.normal(size=(40, 8))
OLD -= OLD.mean(0)  # so that what is nearest is what was planted
COUNTRIES = new_facts([f"country {i % 10}" for i in range(30)])
PLANTED = [COUNTRIES[int(i)].answer for i in NEAREST]
WRONG = np.zeros(40, dtype=bool)


def test_by_hand():
    found = nearest_subject_share(
        old=np.array([[1.0, 0.1], [-1, 0.1], [0.1, -0.2], [-0.1, 0]]),  # their mean is 0
        new=np.array([[5.0, 0], [-5, 0], [0, -5]]),
        right=np.array([False, False, False, True]),
        responses=["Peru", "Chad", "Togo", "Peru"],
        new_facts=new_facts(["Peru", "Togo", "Togo"]),
    )
    assert found.share == pytest.approx(2 / 3)
    assert found.wrong == 3


def test_planted_answers_are_found():
    found = nearest_subject_share(
        old=OLD, new=NEW, right=WRONG, responses=PLANTED, new_facts=COUNTRIES
    )
    assert found.share > 0.9
    assert found.permuted == pytest.approx(0.1, abs=0.03)
    assert found.p_value == pytest.approx(1 / 1000)
    assert found.wrong == 40


def test_all_equal_is_one():
    old = OLD[:20] - OLD[:20].mean(0)
    lengths = np.linalg.norm(NEW, axis=1)
    index = np.argmax(old @ (NEW / lengths[:, None]).T, axis=1)  # by largest cosine
    responses = [COUNTRIES[int(i)].answer for i in index]
    found = nearest_subject_share(
        old=old, new=NEW, right=WRONG[:20], responses=responses, new_facts=COUNTRIES
    )
    assert found.share == 1
    assert found.p_value == pytest.approx(1 / 1000)


def test_unrelated_answers_have_uniform_p_values():
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = nearest_subject_share(
            old=rng.normal(size=(40, 8)),
            new=NEW,
            right=WRONG,
            responses=[f"country {i}" for i in rng.integers(0, 10, 40)],
            new_facts=COUNTRIES,
            permutations=99,
        )
        p_values.append(found.p_value)
    assert np.mean(np.array(p_values) <= 0.1) < 0.2
    assert np.mean(p_values) > 0.4


def test_one_answer_for_all_is_what_chance_gives():
    found = nearest_subject_share(
        old=OLD,
        new=NEW,
        right=WRONG,
        responses=["Peru"] * 40,
        new_facts=new_facts(["Peru"] * 30),
        permutations=50,
    )
    assert (found.share, found.permuted, found.p_value) == (1, 1, 1)


def test_one_new_subject_near_all_proves_little():
    """Forty answers that hang on one new subject are one piece of evidence."""
    near_all = np.array([[1.0, 0], *([[-1.0, 0]] * 9)])
    old = np.vstack([np.tile([1.0, 0], (40, 1)), np.tile([-1.0, 0], (40, 1))])
    found = nearest_subject_share(
        old=old,
        new=near_all,
        right=np.arange(80) >= 40,
        responses=["country 0"] * 80,
        new_facts=COUNTRIES[:10],
    )
    assert found.share == 1
    assert found.permuted == pytest.approx(0.1, abs=0.04)
    assert found.p_value == pytest.approx(0.1, abs=0.04)


def test_an_alias_and_another_case_are_the_answer():
    found = nearest_subject_share(
        old=np.array([[1.0, 0], [-1, 0]]),
        new=np.array([[1.0, 0], [-1, 0]]),
        right=np.zeros(2, bool),
        responses=["the usa.", "PERU"],
        new_facts=new_facts(["United States", "Peru"], **{"United States": ("USA",)}),
    )
    assert found.share == 1


def test_right_answers_are_left_out():
    right = WRONG.copy()
    right[:30] = True
    responses = ["nowhere"] * 30 + PLANTED[30:]
    found = nearest_subject_share(
        old=OLD, new=NEW, right=right, responses=responses, new_facts=COUNTRIES
    )
    assert found.wrong == 10
    assert found.share > 0.8


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_blind_to_one_rotation_scaling_and_shift_of_both(seed, scale):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    shift = 10 * rng.normal(size=8)
    plain, moved = (
        nearest_subject_share(
            old=old,
            new=new,
            right=WRONG,
            responses=PLANTED,
            new_facts=COUNTRIES,
            permutations=20,
        )
        for old, new in ((OLD, NEW), (scale * OLD @ q + shift, scale * NEW @ q + shift))
    )
    assert moved == plain


def test_none_wrong_is_nan():
    found = nearest_subject_share(
        old=OLD, new=NEW, right=~WRONG, responses=PLANTED, new_facts=COUNTRIES
    )
    assert np.isnan([found.share, found.permuted, found.p_value]).all()
    assert found.wrong == 0


def test_rows_that_do_not_match_are_refused():
    message = (
        "40 old activations, 40 outcomes, 39 responses; 30 new activations, 30 new facts"
    )
    with pytest.raises(InputError, match=message):
        nearest_subject_share(
            old=OLD, new=NEW, right=WRONG, responses=PLANTED[:39], new_facts=COUNTRIES
        )
