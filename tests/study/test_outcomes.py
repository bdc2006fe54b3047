import numpy as np
import pandas as pd
import pytest

from interfere.errors import InputError
from interfere.study.outcomes import loss

STEPS = (0, 10, 20)


def run(
    arm: str, seed: int, held: list[list[bool]], learnt: list[float] | None
) -> pd.DataFrame:
    """A run of three evaluations: held-out outcomes [step][fact], plasticity by step."""
    rows = [
        {
            "arm": arm,
            "seed": seed,
            "set": "held_out",
            "step": step,
            "fact": f"f{i}",
            "answer": f"a{i % 2}",
            "right": right,
        }
        for step, outcomes in zip(STEPS, held, strict=True)
        for i, right in enumerate(outcomes)
    ]
    for step, share in zip(STEPS, learnt or [], strict=False):
        rows += [
            {
                "arm": arm,
                "seed": seed,
                "set": "unknown",
                "step": step,
                "fact": f"u{i}",
                "answer": "a",
                "right": i < 10 * share,
            }
            for i in range(10)
        ]
    return pd.DataFrame(rows)


SFT = run("SFT", 0, [[True] * 4, [True, True, False, False], [False] * 4], [0.0, 0.8, 1.0])
CONTROL = run(
    "Known", 0, [[True] * 4, [True, True, True, False], [True] * 3 + [False]], None
)
FACTS = pd.concat([SFT, CONTROL])


def test_end_is_the_last_evaluation():
    found = loss(FACTS, "SFT", "end", control="Known")
    assert found.net.mean() == 1
    assert found.beyond_control.value == pytest.approx(3 / 4)


def test_matched_plasticity_interpolates_each_fact():
    found = loss(FACTS, "SFT", 0.9, control="Known")
    # Half-way between steps 10 and 20: two facts lost, two half lost.
    np.testing.assert_allclose(found.net[0], [0.5, 0.5, 1, 1])
    np.testing.assert_allclose(found.control[0], [0, 0, 0, 1])


def test_not_reached_is_a_value_of_its_own():
    lazy = run("lazy", 0, [[True] * 4] * 3, [0.0, 0.1, 0.2])
    assert not loss(pd.concat([FACTS, lazy]), "lazy", 0.5, control="Known").reached


def test_a_gain_is_a_negative_loss():
    grown = run("grown", 0, [[False] * 4, [True] * 4, [True] * 4], [0.0, 1.0, 1.0])
    assert loss(grown, "grown", "end", control=None).interval.value == -1


def test_unknown_arm_is_named():
    with pytest.raises(InputError, match="no arm 'SFTT'; there are SFT, Known"):
        loss(FACTS, "SFTT", "end", control=None)
