import pytest

from interfere.errors import InputError
from interfere.facts.geonames import geonames
from interfere.facts.load import load_facts


def test_each_kind_of_source(tmp_path):
    assert load_facts("geonames", relations=["P36"], limit=3) == geonames(["P36"], 3)
    file = tmp_path / "P17.csv"
    file.write_text("subject,answer\nOslo,Norway\n")
    assert [fact.subject for fact in load_facts(file)] == ["Oslo"]
    assert load_facts(str(file)).digest == load_facts(file).digest
    (tmp_path / "P36.dev.json").write_text(
        '[{"question": "What is the capital of Peru?", "answers": ["Lima"]}]'
    )
    assert load_facts(tmp_path)[0].answer == "Lima"


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("geoname", {}, "unknown source of facts 'geoname': did you mean 'geonames'"),
        ("wikidata", {}, "unknown source of facts 'wikidata': Give 'geonames', a folder"),
        ("nowhere.csv", {}, "there is no file nowhere.csv"),
        ("geonames", {"limit": 0}, "limit must be at least 1, got 0"),
        ("geonames", {"relations": "P17"}, r"write \['P17'\]"),
        ("geonames", {"relations": []}, "no relations asked for"),
        ("geonames", {"columns": {"subject": "x"}}, "takes no columns"),
        ("geonames", {"single_answer": True}, "leave out single_answer"),
    ],
)
def test_bad_arguments(source, options, message):
    with pytest.raises(InputError, match=message):
        load_facts(source, **options)
