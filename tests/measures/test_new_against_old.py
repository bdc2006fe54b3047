"""One table of every measure, from two real recordings."""

import pytest
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.measures.answer_distance import answer_distance
from interfere.measures.cross_neighbours import cross_neighbours
from interfere.measures.domain_classifier import domain_classifier
from interfere.measures.holm import holm
from interfere.measures.new_against_old import MEASURES, new_against_old
from interfere.measures.principal_angles import principal_angles


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    hooks = ["blocks.1.hook_out", "ln_final.hook_out"]
    sets = {"old": places()[:30], "new": places()[30:]}
    return {
        name: record(
            tiny_model(), facts, folder / f"{name}.h5", hooks=hooks,
            positions=["subject_last", "prompt_last"],
        )
        for name, facts in sets.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def table(recordings):
    return new_against_old(**recordings, rank=3, k=4, seed=5)


def test_a_row_a_hook_position_and_measure(table):
    assert len(table) == 2 * 2 * len(MEASURES)
    assert not table.duplicated(["hook", "position", "measure"]).any()
    assert table["layer"].astype(object).fillna(-1).unique().tolist() == [1, -1]
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    assert (table["permuted_low"] <= table["permuted_high"]).all()
    assert table["p_value"].between(0, 1).all()
    for _, rows in table.groupby("measure"):
        assert rows["p_holm"].tolist() == pytest.approx(holm(rows["p_value"].to_numpy()))


def test_values_are_those_of_the_arrays(table, recordings):
    old, new = recordings.values()
    x, y = (r["blocks.1.hook_out", "prompt_last"].numpy() for r in (old, new))
    answers = old.table["answer"], new.table["answer"]
    neighbours = cross_neighbours(
        x, y, k=4, answers=answers[0], new_answers=answers[1], permutations=160, seed=5
    )
    near = answer_distance(x, y, *answers, permutations=160, seed=5)
    told = domain_classifier(x, y, *answers, shuffles=160, seed=5)
    angles = principal_angles(x, y, rank=3, answers=answers, permutations=160, seed=5)
    expected = {
        "new_neighbours": (neighbours.share, neighbours.permuted),
        "answer_ratio": (near.ratio, near.permuted),
        "domain_auc": (told.auc, told.shuffled),
        "mean_angle": (angles.mean, angles.permuted),
    }
    here = (table["hook"] == "blocks.1.hook_out") & (table["position"] == "prompt_last")
    for row in table[here].itertuples():
        interval, permuted = expected[row.measure]
        assert (row.value, row.low, row.high) == pytest.approx(
            (interval.value, interval.low, interval.high)
        )
        assert (row.permuted, row.p_value) == (permuted.mean, permuted.p_value)


def test_more_permutations_give_smaller_p(recordings):
    few = {"hooks": ["ln_final.hook_out"], "positions": ["subject_last"]}
    found = new_against_old(**recordings, **few, measures=["answer_ratio"], permutations=19)
    assert (20 * found["p_value"] % 1).tolist() == pytest.approx([0])


def test_chosen_places_and_measures_only(recordings):
    few = new_against_old(
        **recordings, hooks=["ln_final.hook_out"], positions=["subject_last"],
        measures=["new_neighbours"],
    )  # fmt: skip
    assert few[["hook", "position", "measure"]].to_numpy().tolist() == [
        ["ln_final.hook_out", "subject_last", "new_neighbours"]
    ]


def test_bad_input_is_refused(recordings, tmp_path):
    with pytest.raises(
        InputError, match="unknown measure 'auc'; there are new_neighbours,"
    ):
        new_against_old(**recordings, measures=["auc"])
    with pytest.raises(InputError, match=r"old.h5: old lacks the hook blocks.0.hook_out"):
        new_against_old(**recordings, hooks=["blocks.0.hook_out"])
    other = record(tiny_model(seed=1), places()[30:], tmp_path / "other.h5")
    with pytest.raises(InputError, match=r"other.h5: new was recorded with the weights"):
        new_against_old(old=recordings["old"], new=other)
