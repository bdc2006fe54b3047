import json
import os
from pathlib import Path

import pytest

from interfere.errors import InputError
from interfere.facts import questions
from interfere.facts.entityquestions import entityquestions

REAL = Path(
    os.environ.get("INTERFERE_ENTITYQUESTIONS")
    or Path(__file__).parents[3] / "shared/data/entityquestions"
)


def write(
    folder: Path, name: str, *rows: tuple[str, list[str]], before: str = "Which country is "
):
    text = [
        {"question": f"{before}{subject} located in?", "answers": a} for subject, a in rows
    ]
    (folder / name).write_text(json.dumps(text))


def test_pools_the_splits(tmp_path):
    write(tmp_path, "P17.test.json", ("Lyon", ["France"]), ("Durham", ["Canada"]))
    write(tmp_path, "P17.train.json", ("Oslo", ["Norway"]), ("Durham", ["England"]))
    write(tmp_path, "P17.dev.json", ("Oslo", ["norway"]), ("Alps", ["Italy", "Austria"]))
    facts = entityquestions(tmp_path)
    assert [fact.subject for fact in facts] == ["Oslo", "Alps", "Lyon"]
    assert facts[1].answers == ("Italy", "Austria")
    assert [f.subject for f in entityquestions(tmp_path, single_answer=True)] == [
        "Oslo",
        "Lyon",
    ]
    assert entityquestions(tmp_path, limit=1).ids == facts.ids[:1]


def test_a_country_has_its_other_names(tmp_path):
    rows = [
        ("Ohio", ["United States of America"]),
        ("Fife", ["Scotland"]),
        ("Pool", ["Congo"]),
    ]
    write(tmp_path, "P17.train.json", *rows)
    ohio, fife, pool = entityquestions(tmp_path)
    assert "United States" in ohio.aliases
    assert "United States of America" not in ohio.aliases
    assert fife.aliases == pool.aliases == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "P17.train.json is not JSON"),
        ("{}", "must be a list of questions, got dict"),
        ('[{"answers": ["x"]}]', "row 1 has no text in 'question'"),
        (
            '[{"question": "Who is X?", "answers": ["x"]}]',
            r"row 1 asks 'Who is X\?', not 'Which",
        ),
        (
            '[{"question": "Which country is  located in?", "answers": ["x"]}]',
            "row 1 asks",
        ),
        (
            '[{"question": "Which country is X located in?", "answers": []}]',
            r"row 1 \('X'\) must list",
        ),
        (
            '[{"question": "Which country is X located in?", "answers": ["The"]}]',
            "'The', which says nothing",
        ),
    ],
)
def test_broken_files_are_named(tmp_path, text, message):
    (tmp_path / "P17.train.json").write_text(text)
    with pytest.raises(InputError, match=message):
        entityquestions(tmp_path)


def test_empty_folder_and_unknown_relation(tmp_path):
    with pytest.raises(InputError, match=r"no EntityQuestions files; .* P17\.train\.json"):
        entityquestions(tmp_path)
    write(tmp_path, "P17.train.json", ("Oslo", ["Norway"]))
    with pytest.raises(InputError, match="no relation 'P36'; it has P17"):
        entityquestions(tmp_path, ["P36"])


@pytest.mark.skipif(not REAL.is_dir(), reason="no EntityQuestions at hand")
def test_the_real_thing():
    facts = entityquestions(REAL)
    by_relation = {r: [f for f in facts if f.relation == r] for r in facts.relations}
    # Subjects less those whose rows differ: 9,963 - 6 and 8,329 - 240.
    assert {r: len(found) for r, found in by_relation.items()} == {"P17": 9957, "P36": 8089}
    rows = json.loads((REAL / "P36.train.json").read_text())
    assert questions.question(by_relation["P36"][0]) == rows[0]["question"]
    assert "Douglas County" not in {fact.subject for fact in by_relation["P36"]}
    # 105 subjects have a row of several answers; one of them is left out anyway.
    assert len(facts) - len(entityquestions(REAL, single_answer=True)) == 104
