"""Where a study's results lie."""

from pathlib import Path

from interfere import cache
from interfere.errors import InputError


def results_folder(study: str) -> Path:
    """`cache/results/<study>`."""
    return cache.home() / "results" / study


def read_results(study: str) -> Path:
    """The folder of a study's results.

    Raises:
        InputError: the study has not been run.
    """
    folder = results_folder(study)
    if not (folder / "results.parquet").is_file():
        raise InputError(
            f"{study} has no results yet; run `interfere reproduce {study}` first"
        )
    return folder


def studies_with_results() -> list[str]:
    """Names of the studies that have been run.

    Raises:
        InputError: none has.
    """
    found = sorted(
        path.parent.name for path in results_folder("*").parent.glob("*/results.parquet")
    )
    if not found:
        raise InputError("no study has results yet; run `interfere reproduce nano` first")
    return found
