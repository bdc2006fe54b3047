"""Each script's table, from results made by hand; the pictures are drawn in test_reproduce."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from analysis_script import script

from interfere.errors import InputError
from interfere.measures.statistics import mean_interval
from interfere.report.figures import scripts


def rows(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


FACTS = pd.concat(
    [
        rows(arm="SFT", set=name, step=step, epoch=step / 7, seed=seed,
             answer=["a", "a", "b", "c"], right=np.arange(4) < right)
        for name in ("known", "unknown", "held_out")
        for step, seed, right in ((0, 0, 0), (0, 1, 1), (7, 0, 2), (7, 1, 3))
    ]
)  # fmt: skip


def test_accuracy_is_the_mean_of_seeds_with_an_interval_over_answers():
    found = script("accuracy_by_epoch").tabulate(FACTS)
    end = found[(found["metric"] == "task") & (found["epoch"] == 1)].iloc[0]
    assert end["value"] == 5 / 8
    assert (end["seeds_low"], end["seeds_high"]) == (0.5, 0.75)
    twice = np.array([[1, 1, 1, 1, 0, 1, 0, 0]])  # by answer, both seeds
    expected = mean_interval(twice, list("aaaabbcc"), resamples=2000)
    assert (end["low"], end["high"]) == (expected.low, expected.high)


def test_accuracy_names_what_is_missing():
    with pytest.raises(InputError, match=r"lacks \['plasticity'\]"):
        script("accuracy_by_epoch").tabulate(FACTS[FACTS["set"] != "unknown"])


def test_accuracy_of_what_was_asked_only():
    numbers = script("accuracy_by_epoch").tabulate(FACTS[FACTS["set"] != "known"])
    figure = script("accuracy_by_epoch").draw(numbers)
    assert [axis.get_title() for axis in figure.axes] == [
        "Unknown, trained (plasticity)",
        "Known, held out (stability)",
    ]
    plt.close(figure)


def test_parameter_groups_have_the_papers_rows():
    results = rows(arm=["SFT", "FFN only"], mitigation=["none", "ffn-only"], keys="natural")
    other = FACTS[FACTS["set"] != "unknown"].assign(arm="FFN only")
    found = script("parameter_groups").tabulate(results, pd.concat([FACTS, other]))
    table = found.set_index(["group", "metric"])
    assert table.loc[("all parameters", "held out"), "value"] == 5 / 8
    assert table.loc[("FFN only", "held out"), "paper"] == 0.782
    assert np.isnan(table.loc[("FFN only", "Unknown, trained"), "value"])
    assert (table["low"].dropna() < table["value"].dropna()).all()
    with pytest.raises(InputError, match="no arm of the paper's Table 1"):
        script("parameter_groups").tabulate(results.assign(keys="hex"), FACTS)


def test_drift_keeps_the_residual_stream_at_the_subject():
    results = rows(
        arm="SFT",
        metric=["drift", "drift_low", "drift_high", "drift", "drift"],
        seed=0,
        epoch=1.0,
        position=["subject_last"] * 4 + ["prompt_last"],
        hook=["blocks.3.hook_out"] * 3 + ["blocks.3.hook_attn_out", "blocks.3.hook_out"],
        value=[0.1, 0.05, 0.2, 0.9, 0.9],
    )
    found = script("drift_by_layer").tabulate(results)
    numbers = ["layer", "drift", "drift_low", "drift_high"]
    assert found[numbers].to_numpy().tolist() == [[3, 0.1, 0.05, 0.2]]


def test_drift_without_intervals_is_refused():
    place = {"position": "subject_last", "hook": "blocks.3.hook_out", "epoch": [1.0]}
    with pytest.raises(InputError, match="lack drift_high, drift_low: an earlier version"):
        script("drift_by_layer").tabulate(rows(metric="drift", arm="SFT", **place))


def test_overlap_lays_the_interval_beside_the_value():
    results = rows(
        keys="hex", position="subject_last", hook="blocks.0.hook_out", seed=0,
        metric=["overlap", "overlap_low", "overlap_high"], value=[0.2, 0.1, 0.3],
    )  # fmt: skip
    found = script("overlap_by_layer").tabulate(results).iloc[0]
    assert found[["overlap", "overlap_low", "overlap_high"]].tolist() == [0.2, 0.1, 0.3]


def test_net_loss_says_what_was_not_reached():
    headline = pd.DataFrame(
        [{"arm": "slow", "net_loss_0.9_reached": False, "net_loss_end_beyond": 0.1}]
    )
    found = script("net_loss_by_arm").tabulate(headline).set_index("panel")
    assert not found.loc["at plasticity .9", "reached"]
    assert found.loc["at the end", "value"] == 0.1


def test_a_ranking_of_an_earlier_version_is_refused():
    table = pd.DataFrame(
        {"arm": ["SFT", "EWC"], "area_gain": 0.0, "net_loss_0.9_beyond": 0.1}
    )
    with pytest.raises(InputError, match=r"lacks 'forwards', as those of earlier versions"):
        script("mitigation_ranking").tabulate(table)


def test_forgetting_nothing_counts_as_reached():
    found = script("net_loss_by_arm").tabulate(
        pd.DataFrame([{"arm": "a", "forgetting": 0.0}])
    )
    paper = found.set_index("panel").loc["the paper's forgetting, at the end"]
    assert paper["reached"]
    assert paper["value"] == 0


def test_reliability_compares_the_first_and_the_last_step():
    share = np.linspace(0.05, 0.95, 400)
    facts = pd.concat(
        [
            rows(
                arm="SFT", seed=0, step=step, set="held_out", confidence=sure,
                right=np.random.default_rng(0).random(400) < share,
                answer=[f"a{i % 50}" for i in range(400)],
            )
            for step, sure in ((0, share), (5, np.nan), (9, np.sqrt(share)))
        ]
    )  # fmt: skip
    found = script("reliability").tabulate(facts)
    ece = found.groupby("when", sort=False)["ece_debiased"].first()
    assert list(ece.index) == ["before", "after"]
    assert ece["before"] < 0.05
    assert ece["after"] > 0.12
    twice = script("reliability").tabulate(pd.concat([facts, facts.assign(seed=1)]))
    errors = twice.groupby("when", sort=False)["ece_debiased"].first()
    assert errors.tolist() == pytest.approx(ece.tolist())  # not those of twice the facts
    bins = found[found["when"] == "after"]
    assert bins["facts"].sum() == 400
    assert (bins["accuracy"] < bins["confidence"]).mean() > 0.8


def test_reliability_names_what_is_missing():
    with pytest.raises(InputError, match="holds no confidence of its answers; run it"):
        script("reliability").tabulate(rows(arm="SFT", step=[0], set="held_out"))


def patching(**changes) -> pd.DataFrame:
    table = pd.DataFrame(
        [(layer, component, np.nan, position)
         for position in ("subject_last", "prompt_last")
         for layer in (1, 0)
         for component in ("MLP", "residual stream")]
        + [(layer, "heads", head, "prompt_last") for layer in (0, 1) for head in (0, 1)],
        columns=["layer", "component", "head", "position"],
    )  # fmt: skip
    value = np.arange(len(table)) / 10 - 0.2
    numbers = {"recovered": value, "recovered_low": value - 0.1}
    numbers |= {"recovered_high": value + 0.1, "facts": 9, "seeds": 1, "arm": "SFT"}
    numbers["p_holm"] = np.where(np.abs(value) < 0.15, 0.05, 0.049)
    return table.assign(**numbers | changes)


def test_patching_keeps_the_first_arm():
    both = pd.concat([patching(), patching(arm="other", recovered=9.0)])
    found = script("patching_heat_map").tabulate(both)
    assert len(found) == len(patching())
    assert found["recovered"].max() < 9


def test_patching_map_has_each_number_in_its_place():
    numbers = script("patching_heat_map").tabulate(patching())
    figure = script("patching_heat_map").draw(numbers)
    *panels, bar = figure.axes
    titles = [axis.get_title() for axis in panels]
    assert titles == ["subject,\nlast token", "prompt,\nlast token",
                      "prompt, last token,\neach head"]  # fmt: skip
    for axis, position in zip(
        panels, ("subject_last", "prompt_last", "heads"), strict=True
    ):
        (image,) = axis.images
        ticks = [label.get_text() for label in axis.get_xticklabels()]
        assert ticks == (["0", "1"] if position == "heads" else ["resid.", "MLP"])
        for layer, component, head, where, value in numbers[
            ["layer", "component", "head", "position", "recovered"]
        ].itertuples(index=False):
            if (component == "heads") != (position == "heads"):
                continue
            if position not in ("heads", where):
                continue
            column = int(head) if position == "heads" else int(component == "MLP")
            assert image.get_array()[layer, column] == pytest.approx(value)
    texts = [text.get_text() for axis in panels for text in axis.texts]
    assert texts.count("−0.20") == 1
    assert sorted(t for t in texts if t.startswith("(")) == ["(0.00)", "(0.10)", "(−0.10)"]
    assert bar.get_ylabel() == "share brought back"


def test_patching_that_shows_nothing_is_left_out(tmp_path):
    with pytest.raises(InputError, match=r"patching.csv lacks recovered_low"):
        script("patching_heat_map").tabulate(patching().drop(columns="recovered_low"))
    with pytest.raises(InputError, match="holds no share brought back"):
        script("patching_heat_map").tabulate(patching(recovered=np.nan))
    with pytest.raises(InputError, match=r"patching.csv is not there: `interfere measure"):
        script("patching_heat_map").main(tmp_path, tmp_path)


def kernel_pairs() -> pd.DataFrame:
    """Six old and four new facts; fact 3 of the new ones hurts all old ones the most."""
    old, new = np.indices((6, 4)).reshape(2, -1)
    product = np.where(new == 3, -2.0, 1.0) + 0.1 * old
    return rows(
        optimizer="sgd", old=[f"o{i}" for i in old], new=[f"n{i}" for i in new],
        old_answer=[f"a{i // 4}" for i in old], new_answer=[f"b{i // 3}" for i in new],
        product=product, cosine=product / 10,
    )  # fmt: skip


def test_gradient_kernel_is_ordered_by_answer_then_harm():
    found = script("gradient_kernel").tabulate(kernel_pairs())
    assert len(found) == 24
    places = found.drop_duplicates("new").set_index("new")["new_place"]
    assert places.to_dict() == {"n0": 0, "n1": 1, "n2": 2, "n3": 3}
    places = found.drop_duplicates("old").set_index("old")["old_place"]
    assert places.to_dict() == {f"o{i}": i for i in range(6)}  # lower: more harm, first
    harms = found.drop_duplicates("new").set_index("new")["new_harm"]
    assert harms.to_dict() == pytest.approx(
        {"n0": -1.25, "n1": -1.25, "n2": -1.25, "n3": 1.75}
    )
    shown = found.drop_duplicates("new")
    assert (shown["new_low"] <= shown["new_harm"]).all()
    assert (shown["new_harm"] <= shown["new_high"]).all()


def test_gradient_kernel_draws_a_map_an_optimizer():
    pairs = kernel_pairs()
    both = pd.concat([pairs, pairs.assign(optimizer="adamw", cosine=-pairs["cosine"])])
    module = script("gradient_kernel")
    figure = module.draw(module.tabulate(both))
    maps = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert [image.shape for image in maps] == [(6, 4), (6, 4)]
    np.testing.assert_allclose(maps[0], -maps[1])
    plt.close(figure)


def test_gradient_kernel_says_what_is_missing(tmp_path):
    with pytest.raises(
        InputError, match=r"kernel.parquet is not there: `interfere measure"
    ):
        script("gradient_kernel").main(tmp_path, tmp_path)


def test_scripts_never_import_each_other():
    names = {path.stem for path in scripts()}
    for path in scripts():
        text = Path(path).read_text()
        assert not [name for name in names - {path.stem} if f"import {name}" in text]
