"""Every table of a finished study."""

from pathlib import Path

from rich.table import Table

from interfere.report.comparison import comparison_table
from interfere.report.mechanisms import mechanism_tables
from interfere.report.tables import contrast_table, headline_table
from interfere.study.fresh import is_fresh
from interfere.study.frontier import read_comparison, write_comparison
from interfere.study.headline import read_contrasts, read_headline, write_headline


def study_tables(folder: Path) -> list[Table]:
    """Headline, contrasts, comparison, and mechanisms where they were measured.

    Files that are older than the study's results are made anew.

    Args:
        folder: the study's results.
    """
    if not all(is_fresh(folder / f"{name}.csv") for name in ("headline", "contrasts")):
        write_headline(folder)
    if not is_fresh(folder / "comparison.csv"):
        write_comparison(folder)
    return [*result_tables(folder), *mechanism_tables(folder)]


def result_tables(folder: Path) -> list[Table]:
    """Headline, contrasts (where arms can be paired) and comparison, from their files."""
    contrasts = read_contrasts(folder)
    return [
        headline_table(read_headline(folder), folder.name),
        *([contrast_table(contrasts)] if len(contrasts) else []),
        comparison_table(read_comparison(folder)),
    ]
