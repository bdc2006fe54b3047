"""Before and after are the same questions, or they are not compared."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import places

from interfere.activations.pairs import pair
from interfere.errors import InputError
from interfere.facts.fact import FactSet


@pytest.fixture(scope="module")
def before(make):
    return make("before", places()[:6])


def test_pairs_row_by_row(before, make):
    after = make("after", places()[:6], seed=1, hooks=["blocks.1.hook_out", "ln_final.*"])
    both = pair(before, after)
    assert both.hooks == ["blocks.1.hook_out"]
    assert both.positions == before.positions
    old, new = both["blocks.1.hook_out", "prompt_last"]
    assert old.shape == new.shape == (6, 64)
    assert np.array_equal(new, after["blocks.1.hook_out", "prompt_last"])


def test_other_prompts_are_refused(before, make):
    mixed = FactSet((*places()[:3], places()[7], *places()[4:6]), "x")
    after = make("mixed", mixed)
    subject = places()[3].subject
    message = rf"mixed.h5: prompt 3 is 'Q: .*', but .*before.h5 has 'Q: .*{subject}.*'; rec"
    with pytest.raises(InputError, match=message):
        pair(before, after)


def test_other_answers_are_refused(before, make):
    other = replace(places()[2], answer="Peru")
    after = make("answers", FactSet((*places()[:2], other, *places()[3:6]), "x"))
    with pytest.raises(
        InputError, match=r"answers.h5: prompt 2, 'Q: .*', is tokenised as \["
    ):
        pair(before, after)


def test_other_numbers_are_refused(before, make):
    with pytest.raises(
        InputError, match=r"fewer.h5 holds 5 facts, but .*before.h5 holds 6;"
    ):
        pair(before, make("fewer", places()[:5]))


def test_nothing_in_common(before, make):
    after = make("norm", places()[:6], hooks="ln_final.*")
    with pytest.raises(InputError, match=r"norm.h5 and .*before.h5 have no hook in common"):
        pair(before, after)
