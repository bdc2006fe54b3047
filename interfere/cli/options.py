"""Arguments and options that several commands share, and how they are read."""

from typing import Annotated, Any

import typer

from interfere.errors import InputError

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="nano, smollm2-135m, a hub id or a folder")
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="FACTS", help="geonames, a folder of EntityQuestions, or a file"
    ),
]
Relations = Annotated[
    list[str] | None, typer.Option("--relation", help="a relation to ask; may be repeated")
]
Limit = Annotated[int | None, typer.Option(help="facts a relation, most popular first")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="field=column of a facts file; repeatable"),
]
OldFacts = Annotated[
    str | None,
    typer.Option(
        "--old", metavar="FACTS", help="facts that the model knew, which may be spent"
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="a.b=value in place of the study's; repeatable"),
]
Deep = Annotated[
    bool, typer.Option("--deep", help="also draw what takes minutes to measure")
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="a preset or a .yaml file")]


def read_pairs(values: list[str] | None, option: str) -> dict[str, str]:
    """Read `key=value` words; `option` is named where one is not."""
    found = {}
    for value in values or []:
        key, separator, text = value.partition("=")
        if not separator:
            raise InputError(f"{option} {value!r}: write it as key=value")
        found[key] = text
    return found


def read_settings(values: list[str] | None) -> dict[str, Any]:
    """Read `--set key=value`; values are YAML."""
    import yaml

    from interfere.study.load import read_value

    found = {}
    for key, text in read_pairs(values, "--set").items():
        try:
            found[key] = read_value(text)
        except yaml.YAMLError:
            raise InputError(f"--set {key}={text}: {text!r} is not a value") from None
    return found


def read_facts(
    source: str, relations: list[str] | None, limit: int | None, columns: list[str] | None
) -> Any:
    """Load the facts that a command names."""
    from interfere.facts.load import load_facts

    named = read_pairs(columns, "--column") or None
    return load_facts(source, relations=relations, limit=limit, columns=named)
