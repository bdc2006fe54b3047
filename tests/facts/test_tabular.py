import json
from pathlib import Path

import pandas as pd
import pytest

from interfere.errors import InputError
from interfere.facts.tabular import read_table

CSV = """city,country,relation,aliases,people
Lyon,France,P17,French Republic|la France,500000
Windhoek,NA,P17,,
"""
NAMES = {"subject": "city", "answer": "country", "popularity": "people"}


def csv_file(folder: Path, text: str, name: str = "mine.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_csv_jsonl_and_parquet_hold_the_same_facts(tmp_path):
    rows = [
        {
            "city": "Lyon",
            "country": "France",
            "relation": "P17",
            "aliases": ["French Republic", "la France"],
            "people": 500000,
        },
        {
            "city": "Windhoek",
            "country": "NA",
            "relation": "P17",
            "aliases": [],
            "people": None,
        },
    ]
    lines = tmp_path / "mine.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)) + "\n")
    pd.DataFrame(rows).to_parquet(tmp_path / "mine.parquet")
    expected = read_table(csv_file(tmp_path, CSV), columns=NAMES).table.drop(columns="id")
    assert expected["answer"].tolist() == ["France", "NA"]
    assert expected["aliases"].tolist() == [("French Republic", "la France"), ()]
    for file in (lines, tmp_path / "mine.parquet"):
        found = read_table(file, columns=NAMES).table.drop(columns="id")
        pd.testing.assert_frame_equal(found, expected)


def test_relation_is_the_files_stem_and_questions_are_kept(tmp_path):
    text = "subject,answer,question\nOslo,Norway,Where does Oslo lie?\n"
    fact = read_table(csv_file(tmp_path, text))[0]
    assert (fact.relation, fact.question) == ("mine", "Where does Oslo lie?")
    assert (
        read_table(csv_file(tmp_path, "subject,answer\nOslo,Norway\n", "P17.csv"))[
            0
        ].question
        is None
    )


def test_relations_and_limit_keep_the_files_order(tmp_path):
    text = "subject,answer,relation\na,x,P17\nb,x,P36\nc,x,P17\nd,x,P36\n"
    file = csv_file(tmp_path, text)
    assert [fact.subject for fact in read_table(file, limit=1)] == ["a", "b"]
    assert [fact.subject for fact in read_table(file, relations=["P36"])] == ["b", "d"]
    with pytest.raises(InputError, match="no relation 'P1'; it has P17, P36"):
        read_table(file, relations=["P1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("subject,answer,relation\n", "has no rows"),
        (
            "city,answer,relation\nLyon,France,P17\n",
            "no column 'subject' .* it has city, answer",
        ),
        (
            "subject,answer\nLyon,France\n",
            "row 1: the relation 'mine' has no question template",
        ),
        (
            "subject,answer,relation\nA,x,P17\n ,x,P17\n",
            "row 2 has nothing in .* 'subject'",
        ),
        ("subject,answer,relation\nA,,P17\n", "row 1 has nothing in the column 'answer'"),
        ("subject,answer,relation\nA,x,\n", "row 1 has nothing in the column 'relation'"),
        (
            "subject,answer,relation\nA,The.,P17\n",
            "row 1, column 'answer': the answer 'The.'",
        ),
        (
            "subject,answer,relation\nA,x,P17\nA,x,P36\nA,y,P17\n",
            "row 3, column 'subject': 'A' was in row 1 with the same relation P17",
        ),
        (
            "subject,answer,question\nLyon,France,Where is Lille?\n",
            r"row 1, column 'question': 'Where is Lille\?' does not hold .* 'Lyon'",
        ),
        ("subject,answer,relation\nA,x\n", "row 1 has 2 fields, but the header 3"),
        ("subject,answer,answer\nA,x,y\n", "two columns 'answer'"),
        ('subject,answer\nA,"x\n', "line 2 is no CSV"),
        (
            'subject,answer,relation\nA,"x\ny",P17\n',
            "row 1, column 'answer' holds a line break",
        ),
        (
            "subject,answer,relation,popularity\nA,x,P17,many\n",
            "row 1, column 'popularity' must be a number, got 'many'",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path, text, message):
    with pytest.raises(InputError, match=f"mine.csv.*{message}") as caught:
        read_table(csv_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_bad_columns_are_named(tmp_path):
    file = csv_file(tmp_path, CSV)
    with pytest.raises(InputError, match="a fact has no 'object'; it has subject, answer"):
        read_table(file, columns={"object": "country"})
    with pytest.raises(InputError, match="no column 'town' for the subject"):
        read_table(file, columns={"subject": "town"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"subject,answer\nL\xff,x\n", "not UTF-8"),
        ("a.jsonl", b'{"subject": 1}\n{"sub', "row 2 is not JSON"),
        ("a.jsonl", b"[1]\n", "row 1 must be an object, got list"),
        ("a.jsonl", b"", "has no rows"),
        (
            "a.jsonl",
            b'{"subject": "x", "answer": ["y"], "relation": "P17"}',
            "row 1, column 'answer' must be text, got list",
        ),
        ("a.parquet", b"garbled", "not a whole Parquet file"),
        ("a.xlsx", b"", r"\.csv, \.jsonl, \.parquet, not as '\.xlsx'"),
    ],
)
def test_garbled_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        read_table(tmp_path / name)


def test_a_parquet_file_cut_short_is_named(tmp_path):
    file = tmp_path / "a.parquet"
    pd.DataFrame({"subject": ["A"], "answer": ["x"]}).to_parquet(file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a whole Parquet file"):
        read_table(file)
