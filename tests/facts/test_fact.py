from dataclasses import replace

import pytest

from interfere.errors import InputError
from interfere.facts import questions
from interfere.facts.fact import Fact, FactSet, fact_id
from interfere.facts.geonames import geonames


def test_ids_never_change():
    assert fact_id("geonames", "P17", "Lyon") == "3516adae3210facf"


def test_digest_knows_content_and_order():
    facts = geonames(limit=3)
    assert facts.digest == geonames(limit=3).digest
    assert facts.digest != replace(facts, facts=facts.facts[::-1]).digest
    changed = replace(facts[0], answer="Atlantis")
    assert facts.digest != replace(facts, facts=(changed, *facts.facts[1:])).digest


def test_a_second_question_of_one_subject_is_refused():
    with pytest.raises(InputError, match=r"row 1 asks P17 of 'Lyon' a second time"):
        FactSet((Fact("0", "Lyon", "P17", "France"),) * 2, "mine")


def test_select_slice_and_sum():
    facts = geonames(limit=4)
    assert facts.select(facts.ids[::-1]).ids == facts.ids[::-1]
    assert (facts[:2] + facts[2:]) == facts
    with pytest.raises(InputError, match="no fact has the id x"):
        facts.select(["x"])


def test_questions_by_hand():
    lyon = Fact("0", "Lyon", "P17", "France")
    assert questions.prompt(lyon) == "Q: Which country is Lyon located in?\nA:"
    assert questions.few_shot_prefix([lyon]).endswith("\nA: France\n")
    assert "Lyon" in questions.question(lyon, paraphrase=True)
    with pytest.raises(InputError, match="'P999' has no question template"):
        questions.question(replace(lyon, relation="P999"))
