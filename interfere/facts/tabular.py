"""Facts from a CSV, JSONL or Parquet file with named columns."""

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet, fact_id
from interfere.facts.matching import normalise
from interfere.facts.questions import TEMPLATES

FIELDS = ("subject", "answer", "relation", "question", "aliases", "popularity")
REQUIRED = ("subject", "answer")


class Table(NamedTuple):
    """A file's content: its columns' names, and a mapping of them for each row."""

    columns: list[str]
    rows: list[dict[str, object]]


def read_table(
    file: Path,
    *,
    relations: list[str] | None = None,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
) -> FactSet:
    """A fact a row, in the file's order.

    Columns: `subject`, `answer`; optional `relation` (absent: the file's name without its
    ending), `question` (absent or empty: the relation's template), `aliases` (split at
    "|", or a list in JSONL and Parquet), `popularity` (a number).

    Args:
        file: ends in .csv (UTF-8, with a header), .jsonl or .parquet.
        relations: which relations; None: all.
        limit: at most so many facts a relation.
        columns: other names of columns, such as {"subject": "city"}.

    Raises:
        InputError: names the file, the row (1: the first after a header) and the column.
    """
    if file.suffix.lower() not in READERS:
        raise InputError(
            f"{file}: facts come as {', '.join(READERS)}, not as {file.suffix!r}"
        )
    try:
        table = READERS[file.suffix.lower()](file)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is not UTF-8 text ({error.reason}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    if not table.rows:
        raise InputError(f"{file} has no rows; it needs one for each fact")
    named = _named(file, table.columns, columns or {})
    facts = [_fact(file, i, row, named) for i, row in enumerate(table.rows, start=1)]
    _refuse_duplicates(file, facts, named["subject"])
    return FactSet(tuple(_chosen(file, facts, relations, limit)), file.name)


def _read_csv(file: Path) -> Table:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header, *lines = [line for line in reader if line] or [[]]
        except csv.Error as error:
            raise InputError(
                f"{file}: line {reader.line_num} is no CSV: {error}"
            ) from error
    header = [name.strip() for name in header]
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise InputError(f"{file} has two columns {twice[0]!r}; rename one")
    for i, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise InputError(
                f"{file}: row {i} has {len(line)} fields, but the header {len(header)}; "
                "put fields that hold commas in quotes"
            )
    return Table(header, [dict(zip(header, line, strict=True)) for line in lines])


def _read_jsonl(file: Path) -> Table:
    rows: list[dict[str, object]] = []
    for i, line in enumerate(
        file.read_text(encoding="utf-8-sig").rstrip().split("\n"), start=1
    ):
        if not line.strip() and not rows:
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{file}: row {i} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{file}: row {i} must be an object, got {type(row).__name__}")
        rows.append(row)
    return Table(list(dict.fromkeys(name for row in rows for name in row)), rows)


def _read_parquet(file: Path) -> Table:
    try:
        table = pq.read_table(file)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is not a whole Parquet file: {reason}") from error
    return Table(list(table.column_names), table.to_pylist())


READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def _named(file: Path, present: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The column that holds each field, of those that are there."""
    if unknown := [field for field in columns if field not in FIELDS]:
        raise InputError(
            f"columns: a fact has no {unknown[0]!r}; it has {', '.join(FIELDS)}"
        )
    for field in (*REQUIRED, *columns):
        column = columns.get(field, field)
        if column not in present:
            raise InputError(
                f"{file} has no column {column!r} for the {field}; it has "
                f"{', '.join(present)}: name one by columns={{{field!r}: …}}"
            )
    names = {field: columns.get(field, field) for field in FIELDS}
    return {field: column for field, column in names.items() if column in present}


def _fact(file: Path, i: int, row: dict[str, object], named: dict[str, str]) -> Fact:
    def text(field: str) -> str:
        return _text(file, i, named[field], row.get(named[field])) if field in named else ""

    place = f"{file}: row {i}"
    subject, answer, question = text("subject"), text("answer"), text("question")
    relation = text("relation") if "relation" in named else file.stem
    for field, value in (("subject", subject), ("answer", answer), ("relation", relation)):
        if not value:
            raise InputError(
                f"{place} has nothing in the column {named.get(field, field)!r}"
            )
    if not normalise(answer):
        raise InputError(
            f"{place}, column {named['answer']!r}: the answer {answer!r} is nothing but "
            "articles and punctuation, which matching leaves out"
        )
    if question and subject not in question:
        raise InputError(
            f"{place}, column {named['question']!r}: {question!r} does not hold the "
            f"subject {subject!r}"
        )
    if not question and relation not in TEMPLATES:
        raise InputError(
            f"{place}: the relation {relation!r} has no question template; add a column "
            "'question', or a column 'relation' with a Wikidata property such as P17"
        )
    aliases = _aliases(file, i, named, row)
    return Fact(
        id=fact_id(file.name, relation, subject),
        subject=subject,
        relation=relation,
        answer=answer,
        aliases=tuple(a for a in dict.fromkeys(aliases) if normalise(a) and a != answer),
        popularity=_popularity(file, i, named, row),
        question=question or None,
    )


def _text(file: Path, i: int, column: str, value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(
            f"{file}: row {i}, column {column!r} must be text, got {type(value).__name__}"
        )
    if len(str(value).strip().splitlines()) > 1:
        raise InputError(f"{file}: row {i}, column {column!r} holds a line break")
    return str(value).strip()


def _aliases(
    file: Path, i: int, named: dict[str, str], row: dict[str, object]
) -> list[str]:
    if "aliases" not in named:
        return []
    value = row.get(named["aliases"])
    parts = (
        value
        if isinstance(value, list)
        else str(value if value is not None else "").split("|")
    )
    return [_text(file, i, named["aliases"], part) for part in parts]


def _popularity(
    file: Path, i: int, named: dict[str, str], row: dict[str, object]
) -> float | None:
    if "popularity" not in named:
        return None
    text = _text(file, i, named["popularity"], row.get(named["popularity"]))
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise InputError(
            f"{file}: row {i}, column {named['popularity']!r} must be a number, "
            f"got {text!r}"
        )
    return value


def _refuse_duplicates(file: Path, facts: list[Fact], column: str) -> None:
    first: dict[str, int] = {}
    for i, fact in enumerate(facts, start=1):
        if fact.id in first:
            raise InputError(
                f"{file}: row {i}, column {column!r}: {fact.subject!r} was in row "
                f"{first[fact.id]} with the same relation {fact.relation}; keep one of them"
            )
        first[fact.id] = i


def _chosen(
    file: Path, facts: list[Fact], relations: list[str] | None, limit: int | None
) -> list[Fact]:
    by_relation: dict[str, list[Fact]] = {}
    for fact in facts:
        by_relation.setdefault(fact.relation, []).append(fact)
    for relation in relations or ():
        if relation not in by_relation:
            raise InputError(
                f"{file} has no relation {relation!r}; it has {', '.join(by_relation)}"
            )
    kept = {
        fact.id
        for relation in (relations if relations is not None else by_relation)
        for fact in by_relation[relation][:limit]
    }
    return [fact for fact in facts if fact.id in kept]
