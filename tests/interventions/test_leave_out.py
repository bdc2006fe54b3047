"""Who is left out, and whether blame that is right or wrong is told apart."""

import numpy as np
import pandas as pd
import pytest

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.interventions.leave_out import blame_effect, leave_out
from interfere.knowledge.splits import Split


def facts(start: int, count: int) -> FactSet:
    return FactSet(
        tuple(
            Fact(f"f{i}", f"place {i}", "P17", f"land {i % 3}")
            for i in range(start, start + count)
        ),
        "made",
    )


SPLIT = Split(
    known=facts(0, 10),
    unknown=facts(100, 12),
    validation=facts(0, 0),
    held_out=facts(200, 30),
    control=facts(0, 0),
    others=facts(0, 0),
    notes=(),
    seed=0,
)
BLAME = {fact.id: float(place) for place, fact in enumerate(SPLIT.unknown)}


def test_the_most_blamed_go_and_nothing_else_changes():
    found = leave_out(SPLIT, BLAME, 4)
    assert found.blamed.unknown.ids == SPLIT.unknown.ids[:8]
    assert found.blamed.known == SPLIT.known
    assert found.blamed.held_out == SPLIT.held_out


def test_as_many_at_random_anew_in_each_draw():
    found = leave_out(SPLIT, BLAME, 4, draws=20)
    kept = [tuple(split.unknown.ids) for split in found.random]
    assert all(len(ids) == 8 for ids in kept)
    assert len(set(kept)) > 15
    # Drawn from all new facts: each is left out about equally often.
    often = np.mean([[i not in ids for i in SPLIT.unknown.ids] for ids in kept], axis=0)
    assert often[8:].mean() < 0.6
    again = leave_out(SPLIT, BLAME, 4, draws=20)
    assert [tuple(split.unknown.ids) for split in again.random] == kept


def test_among_equals_the_first_goes():
    found = leave_out(SPLIT, dict.fromkeys(BLAME, 1.0), 2)
    assert found.blamed.unknown.ids == SPLIT.unknown.ids[2:]


def test_like_answers_takes_as_many_of_each():
    def gone(split):
        left = [f.answer for f in SPLIT.unknown if f.id not in split.unknown.ids]
        return sorted(left)

    blame = {f.id: float(f.answer == "land 1") for f in SPLIT.unknown}
    found = leave_out(SPLIT, blame, 3, draws=5, like_answers=True)
    assert all(gone(split) == ["land 1"] * 3 for split in found.random)
    plain = leave_out(SPLIT, blame, 3, draws=5)
    assert any(gone(split) != ["land 1"] * 3 for split in plain.random)


@pytest.mark.parametrize(
    ("blame", "count", "draws", "text"),
    [
        ({**BLAME, "f103": float("nan")}, 4, 5, r"f103 \(place 103\) has no finite"),
        ({"f100": 1.0}, 4, 5, r"f101 \(place 101\)"),
        (BLAME, 12, 5, r"from 1 to 11, .* got 12"),
        (BLAME, 0, 5, "got 0"),
        (BLAME, 4, 0, "draws must be 1"),
    ],
)
def test_refused(blame, count, draws, text):
    with pytest.raises(InputError, match=text):
        leave_out(SPLIT, blame, count, draws=draws)


def outcomes(blamed_saves: float, *, draws: int = 9, seeds: int = 2) -> pd.DataFrame:
    """Each run loses 2 nats less what was saved: random sets save .5, the blamed so much."""
    rng = np.random.default_rng(0)
    answer = np.repeat(np.arange(40), 5)
    before = -rng.exponential(size=200)
    shared = rng.normal(size=40)[answer]
    rows = []
    runs = [("none", 0, 0.0), ("blamed", 0, blamed_saves)]
    runs += [("random", draw, 0.5) for draw in range(draws)]
    for left_out, draw, saved in runs:
        for seed in range(seeds):
            after = before - 2 + saved + shared + 0.3 * rng.normal(size=200)
            frame = {"fact": np.arange(200), "answer": answer, "before": before}
            frame |= {
                "after": after,
                "right_before": before > -2,
                "right_after": after > -2,
            }
            rows.append(pd.DataFrame(frame).assign(left_out=left_out, draw=draw, seed=seed))
    return pd.concat(rows)


def test_right_blame_prevents_more_than_chance():
    found = blame_effect(outcomes(1.5), "nats")
    assert found.beyond_random.low > 0.8
    assert found.beyond_random.value == pytest.approx(1.0, abs=0.1)
    assert found.prevented.value == pytest.approx(1.5, abs=0.1)
    assert found.p_value == 0.1  # no draw of 9 did as well
    assert found.draws == 9
    assert found.all_new.value - found.without_random.value == pytest.approx(0.5, abs=0.1)


def test_wrong_blame_prevents_no_more_than_chance():
    found = blame_effect(outcomes(0.5), "nats")
    assert not found.beyond_random.shows
    assert found.prevented.shows
    assert found.p_value > 0.1
    assert blame_effect(outcomes(0.0), "nats").p_value == 1


def test_net_loss_is_counted_by_hand():
    table = outcomes(1.5)
    found = blame_effect(table, "net_loss")
    blamed = table[table["left_out"] == "blamed"]
    lost = (blamed["right_before"].astype(int) - blamed["right_after"]).mean()
    assert found.without_blamed.value == pytest.approx(lost)
    assert found.beyond_random.value == pytest.approx(found.without_random.value - lost)


def test_rank_among_draws_is_uniform_where_the_blamed_are_a_random_draw():
    rng = np.random.default_rng(0)
    ranks = []
    for _ in range(100):
        losses = rng.normal(size=5)
        rows = [
            {"left_out": kind, "draw": draw, "before": 0.0, "after": -losses[draw]}
            for draw, kind in enumerate(["blamed", *["random"] * 4])
        ]
        rows.append({"left_out": "none", "draw": 0, "before": 0.0, "after": -9.0})
        base = pd.DataFrame(rows).assign(seed=0)
        each = [base.assign(fact=i, answer=i) for i in range(3)]
        # Runs whose facts all do alike: only the ranks are at stake.
        ranks.append(blame_effect(pd.concat(each), "nats").p_value)
    counts = np.bincount((np.array(ranks) * 5).round().astype(int), minlength=6)[1:]
    assert counts.min() > 8
    assert counts.sum() == 100


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (outcomes(1).drop(columns="draw"), "lack draw"),
        (outcomes(1).query("left_out != 'none'"), "no run with left_out 'none'"),
        (
            outcomes(1).query("not (left_out == 'blamed' and fact == 7)"),
            "hold 398 outcomes",
        ),
        (outcomes(1).query("not (draw == 3 and seed == 1)"), "draw 3, hold 200"),
    ],
)
def test_incomplete_outcomes_are_refused(table, text):
    with pytest.raises(InputError, match=text):
        blame_effect(table, "nats")
