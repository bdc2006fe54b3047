import numpy as np
import pandas as pd
import pytest

from interfere.errors import InputError
from interfere.study.outcomes import forgetting, loss, net_loss_ratio

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


def test_a_repair_is_read_where_it_is_and_never_on_the_way_to_it():
    """Its first evaluation has learnt .8: level .5 is read there, not half-way from the start."""
    found = loss(FACTS, "SFT", 0.5, control="Known", repaired=True)
    assert found.net.mean() == 0.5
    assert found.control.mean() == 0.25  # the control's end, whatever the place
    between = loss(FACTS, "SFT", 0.9, control="Known", repaired=True)
    np.testing.assert_allclose(between.net[0], [0.5, 0.5, 1, 1])
    assert between.control.mean() == 0.25


def test_not_reached_is_a_value_of_its_own():
    lazy = run("lazy", 0, [[True] * 4] * 3, [0.0, 0.1, 0.2])
    assert not loss(pd.concat([FACTS, lazy]), "lazy", 0.5, control="Known").reached


def test_a_gain_is_a_negative_loss():
    grown = run("grown", 0, [[False] * 4, [True] * 4, [True] * 4], [0.0, 1.0, 1.0])
    assert loss(grown, "grown", "end", control=None).interval.value == -1


def test_ratio_is_of_losses_beyond_the_control():
    def arm(name: str, right: list[bool]) -> pd.DataFrame:
        return run(name, 0, [[True] * 8, right, right], [0.0, 1.0, 1.0])

    facts = pd.concat(
        [
            arm("most", [False] * 8),
            arm("half", [False] * 4 + [True] * 4),
            arm("Known", [False] * 2 + [True] * 6),
        ]
    )
    most, half = (loss(facts, name, "end", control="Known") for name in ("most", "half"))
    found = net_loss_ratio(most, half)
    assert found.value == pytest.approx((1 - 0.25) / (0.5 - 0.25))


def test_forgetting_counts_from_the_highest_evaluation():
    held = [[True] * 2 + [False] * 2, [True] * 4, [True] * 3 + [False]]
    found = forgetting(run("SFT", 0, held, None), "SFT")
    assert found.value == pytest.approx(1 / 4)
    assert found.null == 0


def test_settings_are_chosen_on_validation_facts():
    chosen = run("SFT", 0, [[True] * 4, [True] * 4, [True, False] * 2], None)
    both = pd.concat([SFT, chosen.assign(set="validation")])
    found = loss(both, "SFT", "end", control=None, measured="validation")
    assert found.net.mean() == 1 / 2


def test_unknown_arm_is_named():
    with pytest.raises(InputError, match="no arm 'SFTT'; there are SFT, Known"):
        loss(FACTS, "SFTT", "end", control=None)
