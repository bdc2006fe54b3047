"""Commands on studies: run one, draw its figures."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from interfere.cli.options import Changes, Deep, StudyName
from interfere.cli.output import quiet, say, show


def reproduce(
    study: StudyName,
    changes: Changes = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="print plan, memory, disk and cost; load nothing"),
    ] = False,
    deep: Deep = False,
) -> None:
    """Run a study and make its tables and figures; finished runs are never run again."""
    quiet()
    from interfere.study.load import load_study

    chosen = load_study(study, changes)
    if dry_run:
        from interfere.report.estimate import estimate_table
        from interfere.study.estimate import estimate

        show(estimate_table(estimate(chosen)))
        return
    from interfere.study.runner import reproduce as run_study

    # The plan says what the whole study takes; each recording need not say it again.
    logging.getLogger("interfere.activations.store").setLevel(logging.WARNING)
    folder = run_study(chosen, say)
    _report(folder)
    _draw(chosen.name, deep)


def measure(
    study: StudyName,
    changes: Changes = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            help="a step to leave out, such as leave-out, which trains dozens of runs; "
            "may be given several times"
        ),
    ] = None,
) -> None:
    """Measure a finished study in depth: where old facts went, what blame and gradients say."""
    quiet()
    from interfere.report.mechanisms import mechanism_tables
    from interfere.study.load import load_study
    from interfere.study.measuring import measure as measure_study

    logging.getLogger("interfere.activations.store").setLevel(logging.WARNING)
    folder = measure_study(load_study(study, changes), say, skip=skip or ())
    for table in mechanism_tables(folder):
        show(table)
    typer.echo(f"tables: {folder}")


def tables(
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="as Markdown, to be pasted into a page")
    ] = False,
) -> None:
    """Print a finished study's tables again; runs nothing."""
    quiet()
    from interfere.report.markdown import markdown
    from interfere.report.study_tables import study_tables
    from interfere.study.results import read_results

    for table in study_tables(read_results(study)):
        if as_markdown:
            typer.echo(markdown(table))
        else:
            show(table)


def figures(
    study: Annotated[str, typer.Argument(metavar="STUDY|all")], deep: Deep = False
) -> None:
    """Draw every figure again from a study's results."""
    quiet()
    from interfere.study.results import read_results, studies_with_results

    for name in studies_with_results() if study == "all" else [study]:
        read_results(name)
        _draw(name, deep)


def _draw(study: str, deep: bool) -> None:
    from interfere.report.figures import draw_all

    for path in draw_all(study, say, deep=deep):
        typer.echo(path)


def _report(folder: Path) -> None:
    from interfere.report.study_tables import result_tables
    from interfere.study.frontier import write_comparison
    from interfere.study.headline import write_headline

    write_headline(folder)
    write_comparison(folder)
    for table in result_tables(folder):
        show(table)
    typer.echo(f"results: {folder}")
