from dataclasses import replace

import numpy as np
import pytest

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.facts.geonames import geonames
from interfere.facts.questions import few_shot_prefix
from interfere.knowledge import slick
from interfere.knowledge.categories import categories, ever_right
from interfere.knowledge.slick import categorise
from interfere.models.answering import ask


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERFERE_CACHE", str(tmp_path))


FACTS = geonames(["P17"], limit=240)


def test_the_table_is_the_formula_over_the_prompts(nano):
    found = categorise(nano, FACTS, prompts=3, exemplars=FACTS[200:])
    plan = slick.prefixes(FACTS[200:], "P17", prompts=3, shots=4, seed=0)
    shown = {fact.id for _, group in plan for fact in group}
    assert set(found.exemplars.ids) == shown
    asked = replace(FACTS, facts=tuple(f for f in FACTS if f.id not in shown))
    each = [ask(nano, asked, prefix=few_shot_prefix(group)) for _, group in plan]
    table = found.table[found.table["category"] != "exemplar"]
    assert table["id"].tolist() == asked.ids
    chance = np.array([answers.probability for answers in each])
    names, strict = categories(np.array([a.right for a in each]), ever_right(chance))
    assert table["category"].tolist() == names
    assert table["strict"].tolist() == strict.tolist()
    np.testing.assert_allclose(table["p_correct"], chance.mean(0), atol=1e-5)
    np.testing.assert_allclose(
        table["logprob"], np.mean([a.logprob for a in each], 0), atol=1e-4
    )


def test_exemplars_are_reserved_and_have_no_numbers(nano):
    found = categorise(nano, FACTS, prompts=2)
    assert found.table["id"].tolist() == FACTS.ids
    shown = found.table[found.table["category"] == "exemplar"]
    assert sorted(shown["id"]) == sorted(found.exemplars.ids)
    assert len(shown) == 40
    assert shown[slick.NUMBERS].isna().all(axis=None)
    assert not shown["strict"].any()


def test_margin_is_the_gain_over_the_same_question_without_the_subject(nano):
    found = categorise(nano, FACTS, prompts=1)
    ((prefix, _),) = slick.prefixes(found.exemplars, "P17", prompts=1, shots=4, seed=0)
    row = found.table[found.table["category"] != "exemplar"].iloc[0]
    words = "Which country is it located in?"
    bare = Fact("0", "it", "P17", row["answer"], question=words)
    prior = ask(nano, FactSet((bare,), "test"), prefix=prefix).logprob[0]
    assert row["margin"] == pytest.approx(row["logprob"] - prior, abs=1e-4)


def test_a_question_without_its_subject_has_no_margin(nano):
    plain = tuple(replace(fact, question="Which country is largest?") for fact in FACTS[:8])
    found = categorise(nano, replace(FACTS, facts=plain), prompts=1, exemplars=FACTS[200:])
    assert found.table["margin"].isna().all()
    assert found.table["logprob"].notna().all()


def test_each_relation_is_asked_with_its_own_exemplars(nano):
    facts = geonames(["P17", "P30"], limit=60)
    found = categorise(nano, facts, prompts=2)
    assert found.table["id"].tolist() == facts.ids
    assert found.counts().groupby("relation")["facts"].sum().min() >= 60
    alone = categorise(nano, geonames(["P30"], limit=60), prompts=2).table
    both = found.table[found.table["relation"] == "P30"].reset_index(drop=True)
    assert both["category"].tolist() == alone["category"].tolist()


def test_a_second_call_reads_the_cache_and_damage_is_recomputed(
    nano, tmp_path, monkeypatch
):
    first = categorise(nano, FACTS[:60], prompts=1)
    (file,) = (tmp_path / "knowledge").iterdir()
    calls = []
    real = slick._categorise
    monkeypatch.setattr(slick, "_categorise", lambda *a: calls.append(1) or real(*a))
    assert categorise(nano, FACTS[:60], prompts=1).table.equals(first.table)
    assert not calls
    file.write_bytes(file.read_bytes()[:200])
    assert categorise(nano, FACTS[:60], prompts=1).table.equals(first.table)
    assert categorise(nano, FACTS[:60], prompts=1).table.equals(first.table)
    assert calls == [1]


@pytest.mark.parametrize("change", [{"seed": 1}, {"prompts": 2}, {"shots": 3}])
def test_other_settings_are_other_files(nano, tmp_path, change):
    categorise(nano, FACTS[:30], **{"prompts": 1})
    categorise(nano, FACTS[:30], **{"prompts": 1} | change)
    assert len(list((tmp_path / "knowledge").iterdir())) == 2


def test_sampling_agrees_with_the_closed_form(nano):
    asked = FACTS[:60]
    exact = categorise(nano, asked, prompts=2, exemplars=FACTS[200:]).table
    drawn = categorise(
        nano, asked, prompts=2, exemplars=FACTS[200:], method="sampling"
    ).table
    assert (exact["greedy"] == drawn["greedy"]).mean() > 0.99
    assert set(drawn["pi"]) <= {0.0, 1.0}
    error = np.sqrt(0.25 / 32)
    assert (abs(exact["p_correct"] - drawn["p_correct"]) < 4 * error).all()
    assert abs(exact["p_correct"].mean() - drawn["p_correct"].mean()) < 0.02


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "guess"}, "unknown method 'guess'; there are exact, sampling"),
        ({"prompts": 0}, "prompts must be at least 1"),
        ({"exemplars": FACTS[:2]}, "2 exemplars of P17 for 4 shots"),
    ],
)
def test_bad_settings(nano, settings, message):
    with pytest.raises(InputError, match=message):
        categorise(nano, FACTS[:20], **settings)
