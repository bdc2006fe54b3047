"""Facts from wherever they are: a source's name, a folder, a file."""

import difflib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from interfere.errors import InputError
from interfere.facts.entityquestions import entityquestions
from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames
from interfere.facts.tabular import read_table

NAMED_SOURCES = ("geonames",)


def load_facts(
    source: str | PathLike[str],
    *,
    relations: Sequence[str] | None = None,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    single_answer: bool = False,
) -> FactSet:
    """Facts in the source's own order (GeoNames: most populous subjects first).

    Args:
        source: "geonames", a folder of EntityQuestions JSON (`P17.train.json`, …), or a
            CSV, JSONL or Parquet file.
        relations: which relations; None: all (GeoNames: P17).
        limit: at most so many facts a relation.
        columns: for a file, the column that holds each of subject, answer, relation,
            question, aliases, popularity, where its name is another.
        single_answer: for EntityQuestions, leave out questions with several answers.

    Raises:
        InputError: an unknown source or relation, or a file, row or column at fault.
    """
    if limit is not None and limit < 1:
        raise InputError(f"{source}: limit must be at least 1, got {limit}")
    if isinstance(relations, str):
        raise InputError(
            f"relations must be a list, got {relations!r}; write [{relations!r}]"
        )
    wanted = list(dict.fromkeys(relations)) if relations is not None else None
    if wanted == []:
        raise InputError(
            f"{source}: no relations asked for; leave them out for the default"
        )
    path = Path(source).expanduser()
    named = str(source) in NAMED_SOURCES
    if columns is not None and (named or path.is_dir()):
        raise InputError(
            f"{source} is no CSV, JSONL or Parquet file, so it takes no columns"
        )
    if single_answer and (named or path.is_file()):
        raise InputError(f"{source} is no EntityQuestions folder: leave out single_answer")
    if named:
        return geonames(wanted, limit)
    if path.is_dir():
        return entityquestions(path, wanted, limit, single_answer=single_answer)
    if path.is_file():
        return read_table(path, relations=wanted, limit=limit, columns=columns)
    if path.suffix:
        raise InputError(f"there is no file {path}")
    near = difflib.get_close_matches(str(source).lower(), NAMED_SOURCES, 1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"unknown source of facts {str(source)!r}:{hint} Give 'geonames', a folder of "
        "EntityQuestions JSON, or a CSV, JSONL or Parquet file"
    )
