"""Planted: what the measures of similarity say of a rotation, a shift, a stretch, noise."""

from itertools import pairwise

import numpy as np
import pytest
from gaussian import gaussian, rotation

from interfere.errors import InputError
from interfere.measures.similarities import SIMILARITIES, similarity_interval

ANSWERS = np.repeat(range(50), 4)
BEFORE = gaussian(0, 200, 6)
PERFECT = {name: 0.0 if name == "procrustes" else 1.0 for name in SIMILARITIES}


@pytest.mark.parametrize("measure", [name for name in SIMILARITIES if name != "rsa"])
def test_a_rotation_leaves_all_as_it_was(measure):
    found = similarity_interval(BEFORE, BEFORE @ rotation(1, 6), ANSWERS, measure, groups=4)
    for end in (found.value, found.low, found.high):
        assert end == pytest.approx(PERFECT[measure], abs=1e-9)


@pytest.mark.parametrize("measure", SIMILARITIES)
def test_more_noise_is_less_alike_and_the_interval_sees_it(measure):
    intervals = [
        similarity_interval(
            BEFORE, BEFORE + noise * gaussian(1, 200, 6), ANSWERS, measure, groups=10
        )
        for noise in (0.2, 1, 5)
    ]
    if measure == "procrustes":
        intervals.reverse()
    for more, less in pairwise(intervals):
        assert more.low > less.high, "a step of five times the noise shows"


@pytest.mark.parametrize("measure", SIMILARITIES)
def test_values_and_intervals_lie_in_the_range(measure):
    few = slice(0, 32)
    found = similarity_interval(
        BEFORE[few], gaussian(9, 32, 6), ANSWERS[few], measure, groups=2
    )
    of = SIMILARITIES[measure]
    assert of.least <= found.low <= found.value <= found.high <= of.most


def test_an_unknown_measure_names_those_there_are():
    with pytest.raises(InputError, match="no similarity 'pwcca'; there are cka, rbf_cka"):
        similarity_interval(BEFORE, BEFORE, ANSWERS, "pwcca")
