"""Facts from a folder of EntityQuestions JSON (Sciavolino et al., 2021; MIT licence)."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from interfere.errors import InputError
from interfere.facts.country_names import OTHER_NAMES
from interfere.facts.fact import Fact, FactSet, fact_id
from interfere.facts.matching import normalise
from interfere.facts.questions import TEMPLATES

ATTRIBUTION = "Facts from EntityQuestions (Sciavolino et al., EMNLP 2021), MIT licence."
SPLITS = ("train", "dev", "test")

_FILE = re.compile(rf"(P\d+)\.({'|'.join(SPLITS)})\.json")
_COUNTRY_RELATIONS = ("P17", "P495")
# Parts of a country: right where the country is asked for, but not the other way round.
_PARTS = {"England", "Scotland", "Wales"}


class Row(NamedTuple):
    """A subject and its answers, before they are a fact."""

    subject: str
    answers: tuple[str, ...]


def entityquestions(
    folder: Path,
    relations: list[str] | None = None,
    limit: int | None = None,
    *,
    single_answer: bool = False,
) -> FactSet:
    """Facts of the files `P17.train.json`, `P17.dev.json`, `P17.test.json`, in this order.

    The splits are pooled: a subject asked twice is one fact if its answers are the same,
    and is left out if they differ (five Douglas Counties have five capitals). Where a row
    lists several answers the first is canonical and the others are aliases; so are a
    country's other names.

    Args:
        folder: holds the files, at any depth.
        relations: which relations, in this order; None: all that the folder has.
        limit: at most so many facts a relation.
        single_answer: leave out rows that list several answers, as Gekhman et al.
            (arXiv 2405.05904) do.

    Raises:
        InputError: no such files, an unknown relation, or a file or row that can't be read.
    """
    files = _files(folder)
    facts: list[Fact] = []
    for relation in relations if relations is not None else list(files):
        if relation not in files:
            raise InputError(
                f"{folder} has no relation {relation!r}; it has {', '.join(files)}"
            )
        rows = [row for file in files[relation] for row in _read(file, relation)]
        chosen = [
            row for row in _agreed(rows) if len(row.answers) == 1 or not single_answer
        ]
        facts += [_fact(relation, row) for row in chosen[:limit]]
    return FactSet(tuple(facts), "entityquestions", ATTRIBUTION)


def _files(folder: Path) -> dict[str, list[Path]]:
    """The folder's files by relation, relations by number, splits in SPLITS' order."""
    found: dict[tuple[int, int], Path] = {}
    for file in sorted(folder.rglob("P*.json")):
        if match := _FILE.fullmatch(file.name):
            found[int(match[1][1:]), SPLITS.index(match[2])] = file
    if not found:
        raise InputError(
            f"{folder} holds no EntityQuestions files; they are named like P17.train.json"
        )
    files: dict[str, list[Path]] = defaultdict(list)
    for number, split in sorted(found):
        files[f"P{number}"].append(found[number, split])
    return dict(files)


def _read(file: Path, relation: str) -> list[Row]:
    if relation not in TEMPLATES:
        raise InputError(f"{file}: EntityQuestions has no relation {relation}")
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise InputError(f"{file} is not JSON ({error}); fetch it again") from error
    if not isinstance(rows, list):
        raise InputError(f"{file} must be a list of questions, got {type(rows).__name__}")
    before, after = TEMPLATES[relation].split("[X]")
    return [
        _row(f"{file}: row {i}", row, before, after) for i, row in enumerate(rows, start=1)
    ]


def _row(place: str, row: object, before: str, after: str) -> Row:
    question = row.get("question") if isinstance(row, dict) else None
    answers = row.get("answers") if isinstance(row, dict) else None
    if not isinstance(question, str):
        raise InputError(f"{place} has no text in 'question'")
    subject = question.removeprefix(before).removesuffix(after).strip()
    if not subject or question.strip() != f"{before}{subject}{after}":
        raise InputError(f"{place} asks {question!r}, not {f'{before}[X]{after}'!r}")
    if not (
        isinstance(answers, list) and answers and all(isinstance(a, str) for a in answers)
    ):
        raise InputError(f"{place} ({subject!r}) must list one or more texts in 'answers'")
    if empty := [answer for answer in answers if not normalise(answer)]:
        raise InputError(
            f"{place} ({subject!r}) has the answer {empty[0]!r}, which says nothing"
        )
    return Row(subject, tuple(dict.fromkeys(answer.strip() for answer in answers)))


def _agreed(rows: list[Row]) -> list[Row]:
    """Each subject once, at its first place; none whose rows have different answers."""
    answers: dict[str, set[frozenset[str]]] = defaultdict(set)
    first: dict[str, Row] = {}
    for row in rows:
        answers[row.subject].add(frozenset(normalise(answer) for answer in row.answers))
        first.setdefault(row.subject, row)
    return [row for subject, row in first.items() if len(answers[subject]) == 1]


def _fact(relation: str, row: Row) -> Fact:
    answer, *others = row.answers
    if relation in _COUNTRY_RELATIONS:
        others += _other_names(answer)
    return Fact(
        id=fact_id("entityquestions", relation, row.subject),
        subject=row.subject,
        relation=relation,
        answer=answer,
        aliases=tuple(dict.fromkeys(name for name in others if name != answer)),
    )


def _other_names(country: str) -> list[str]:
    if country in _PARTS:
        return []
    groups = [(name, *others) for name, others in OTHER_NAMES.items()]
    known = [group for group in groups if country in group]
    return list(known[0]) if len(known) == 1 else []
