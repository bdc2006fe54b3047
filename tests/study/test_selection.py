"""Settings chosen on validation facts."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interfere.errors import InputError
from interfere.measures.frontier import frontier_area
from interfere.study.load import load_study
from interfere.study.search import Outcome, Search, candidates, neighbours, score, tries
from interfere.study.selection import _at_rate, _read, check_arm, choose
from interfere.study.study import Arm, Selection, Split, Study

NAN = float("nan")


def arm(**given) -> Arm:
    return Arm.model_validate({"name": "tried", **given})


def test_every_combination_is_a_candidate():
    found = candidates(
        arm(
            mitigation="self-distillation",
            settings={"temperature": 2},
            sweep={"strength": [1, 3], "learning_rate": [1e-4, 2e-4]},
        )
    )
    assert [(one.settings["strength"], one.learning_rate) for one in found] == [
        (1, 1e-4),
        (1, 2e-4),
        (3, 1e-4),
        (3, 2e-4),
    ]
    assert all(one.settings["temperature"] == 2 and not one.sweep for one in found)


def test_an_arm_without_a_sweep_is_its_own_candidate():
    assert candidates(arm()) == [arm()]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ([(1.0, 0.02)], [(1.0, 0.05)]),
        (
            [(0.95, 0.4)],
            [(0.5, NAN)],
        ),  # who doesn't learn gets no credit for losing nothing
        ([(0.6, NAN)], [(0.5, NAN)]),
        ([(1.0, 0.1), (1.0, 0.1)], [(1.0, 0.0), (0.8, NAN)]),
    ],
)
def test_which_is_chosen(better, worse):
    better, worse = ([Outcome(*one, NAN) for one in found] for found in (better, worse))
    assert score(better, "loss") < score(worse, "loss")


def test_the_area_prices_what_is_learnt_beyond_the_level():
    """A strong setting that stops at .9 loses less there, and learns less in all."""
    weak, strong = [Outcome(1.0, 0.054, 0.954)], [Outcome(0.905, 0.05, 0.866)]
    assert score(strong, "loss") < score(weak, "loss")
    assert score(weak, "area") < score(strong, "area")


def test_loss_is_read_where_the_level_is_reached(tmp_path):
    """Half of the way from .8 to 1 learnt, and from .9 to .7 kept."""
    shares = {"unknown": [0.0, 0.8, 1.0], "validation": [1.0, 0.9, 0.7]}
    rows = [
        {"set": name, "step": 10 * step, "right": fact < 10 * share}
        for name, curve in shares.items()
        for step, share in enumerate(curve)
        for fact in range(10)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "facts.parquet")
    found = _read(tmp_path, 0.9)
    assert found.plasticity == 1
    assert found.net_loss == pytest.approx(0.2)
    curves = (np.array(shares["unknown"]), np.array(shares["validation"]))
    assert found.area == frontier_area(*curves)
    assert _read(tmp_path, 0.9, repaired=True).area == frontier_area(*curves, repaired=True)
    # a repair's first evaluation is as far as it goes: no way leads there from the start
    assert _read(tmp_path, 0.5).net_loss == pytest.approx(0.1 * 0.5 / 0.8)
    assert _read(tmp_path, 0.5, repaired=True).net_loss == pytest.approx(0.1)


@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3).flatmap(
        lambda sizes: st.tuples(
            st.just(sizes), st.tuples(*(st.integers(0, size - 1) for size in sizes))
        )
    )
)
def test_a_climb_ends_where_no_neighbour_is_better(drawn):
    """On a bowl, which has one bottom, it finds that from anywhere, and tries each place once."""
    sizes, bottom = drawn
    sweep = {f"setting {i}": list(range(size)) for i, size in enumerate(sizes)}
    search = Search(arm(sweep=sweep), "climb")
    while wanted := search.wanted():
        assert not set(wanted) & set(search.found)
        for place in wanted:
            depth = sum((a - b) ** 2 for a, b in zip(place, bottom, strict=True))
            search.found[place] = [Outcome(1.0, float(depth), 0.0)]
    assert search.best == bottom
    best = search.found[search.best]
    assert all(search.found[place] >= best for place in neighbours(search.best, sizes))


def test_a_climb_begins_in_the_middle_and_follows_what_learns():
    one = arm(
        mitigation="ewc", sweep={"strength": [1, 2, 3], "learning_rate": [1e-4, 2e-4]}
    )
    search = Search(one, "climb")
    assert search.wanted() == [(1, 1)]
    search.found[1, 1] = [Outcome(0.5, NAN, 0.4)]
    assert search.wanted() == [(0, 1), (2, 1), (1, 0)]
    search.found[0, 1] = [Outcome(0.95, 0.3, 0.7)]
    search.found[2, 1] = [Outcome(0.2, NAN, 0.1)]
    search.found[1, 0] = [Outcome(0.4, NAN, 0.3)]
    assert search.wanted() == [(0, 0)]
    search.found[0, 0] = [Outcome(0.92, 0.3, 0.7)]  # a draw: what was tried first stays
    assert search.wanted() == []
    assert search.best == (0, 1)
    chosen = search.candidate(search.best)
    assert (chosen.settings, chosen.learning_rate) == ({"strength": 1}, 2e-4)
    assert search.ends((0, 1)) == ["strength", "learning_rate"]
    assert search.ends((1, 0)) == ["learning_rate"]
    words = arm(mitigation="replay", sweep={"answers": ["given", "own"]})
    assert Search(words, "all").ends((0,)) == []  # nothing lies beyond a word


LOSSES = {  # by strength: of two seeds, at the end, where all is learnt
    "gentle": {1: (0.5, 0.5), 2: (0.3, 0.2), 4: (0.1, 0.3), 8: (0.2, 0.3), 16: (0.0, 0.9)},
    "harsh": {1: (0.1, 0.1), 2: (0.2, 0.2), 4: (0.3, 0.3)},
}


@pytest.mark.usefixtures("types_unchecked")
def test_settings_are_chosen_round_by_round(tmp_path, monkeypatch):
    """Two arms of unlike length, two seeds; runs whose outcome is known in place of trainings."""
    monkeypatch.setenv("INTERFERE_CACHE", str(tmp_path))
    arms = [
        arm(mitigation="ewc", sweep={"strength": sorted(own)}).model_copy(
            update={"name": name}
        )
        for name, own in LOSSES.items()
    ]
    plain = arm().model_copy(update={"name": "plain"})
    select = Selection(seeds=(7, 8), search="climb")
    study = Study(name="chosen", split=Split(validation=10), arms=(plain,), select=select)
    study = study.model_copy(update={"arms": (plain, *arms)})
    rounds: list[list[str]] = []

    def jobs(trial):
        return [
            SimpleNamespace(arm=one, seed=seed) for one in trial.arms for seed in (0, 1)
        ]

    def run(planned):
        rounds.append([job.arm.name for job in planned])
        return [carried_out(job, tmp_path) for job in planned]

    said: list[str] = []
    found = choose(SimpleNamespace(study=study), jobs, run, said.append)
    # gentle: 4, then 2 and 8, of which neither is better; harsh: 2, then 1 and 4.
    assert [len(names) for names in rounds] == [4, 8]
    assert all(name.startswith(("gentle", "harsh")) for names in rounds for name in names)
    chosen = {one.name: one.settings for one in found.arms}
    assert chosen == {"plain": {}, "gentle": {"strength": 4}, "harsh": {"strength": 1}}
    table = pd.read_csv(tmp_path / "results/chosen/choices.csv")
    assert table["settings"].tolist() == [
        *("strength=2", "strength=4", "strength=8"),
        *("strength=1", "strength=2", "strength=4"),
    ]
    assert table["net_loss"].tolist() == pytest.approx(
        [0.9 * lost for lost in (0.25, 0.2, 0.25, 0.1, 0.2, 0.3)]
    )
    assert table[table["chosen"]]["at_end"].fillna("").tolist() == ["", "strength"]
    assert len(said) == 1
    assert "'harsh' chose strength at an end" in said[0]


def test_an_arm_may_take_the_rate_that_another_chose():
    sft = arm(sweep={"learning_rate": [1e-4, 2e-4]})
    control = arm(rows="known", rate_of="tried").model_copy(update={"name": "control"})
    chosen = {"tried": Search(sft, "all").candidate((1,))}
    rated = _at_rate(control, chosen)
    assert rated.learning_rate == 2e-4
    both = Study(name="chosen", arms=(chosen["tried"], rated))
    assert Study.model_validate_json(both.model_dump_json()) == both  # results keep it
    assert _at_rate(sft, chosen) is sft


def carried_out(job, root):
    """A run's folder, in which what the settings lose is lost."""
    name, strength = job.arm.name.split()[0], job.arm.settings["strength"]
    lost = LOSSES[name][strength][job.seed]
    rows = [
        {"set": kind, "step": step, "right": fact < 10 * share}
        for step, shares in enumerate([(0.0, 1.0), (1.0, 1 - lost)])
        for kind, share in zip(("unknown", "validation"), shares, strict=True)
        for fact in range(10)
    ]
    # Read at plasticity .9 on the straight line from the start: nine tenths of the loss.
    folder = root / f"{name}-{strength}-{job.seed}"
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "facts.parquet")
    return folder


def test_how_many_settings_a_search_tries():
    one = arm(sweep={"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5]})
    assert (tries(arm(), "climb"), tries(one, "all"), tries(one, "climb")) == (0, 25, 11)
    assert tries(arm(sweep={"a": [1, 2]}), "climb") == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mitigation": "ewk", "sweep": {"strength": [1]}}, "did you mean ewc"),
        ({"mitigation": "ewc", "sweep": {"strength": [1, -1]}}, "strength"),
        ({"mitigation": "ewc", "sweep": {"depth": [1]}}, "depth"),
        ({"repair": "wise"}, "there are wise-ft"),
        ({"sweep": {"strength": [1]}}, "plain fine-tuning has no setting"),
    ],
)
def test_settings_are_refused_before_anything_is_trained(given, message):
    with pytest.raises(InputError, match=message):
        check_arm(arm(**given))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("split.validation=0", "no facts to choose settings on"),
        ("seeds=[1000]", "select.seeds must differ"),
        ("arms=[{name: a, mitigation: ewc, sweep: {strength: []}}]", "over no values"),
        (
            "select.search=climb; arms=[{name: a, mitigation: ewc, sweep: {strength: [3, 1]}}]",
            "small to large",
        ),
        (
            "arms=[{name: a, sweep: {learning_rate: [0.1]}}, {name: b, rate_of: c}]",
            "'b' takes the rate of 'c': that must sweep learning_rate",
        ),
        ("evaluate.sets=[unknown]", "leaves out 'held_out'"),
        ("arms=[{name: a, mitigation: ewc, repair: wise-ft}]", "a mitigation and a repair"),
    ],
)
def test_studies_that_cannot_choose_are_refused(change, message):
    with pytest.raises((InputError, ValidationError), match=message):
        load_study("nano-mitigations", change.split("; "))


def test_every_arm_of_the_preset_can_be_made():
    study = load_study("nano-mitigations")
    for one in study.arms:
        check_arm(one)
    assert len(study.seeds) >= 5
