"""Where a study's results lie, and its recordings."""

from pathlib import Path

import pandas as pd

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


def recordings(folder: Path) -> pd.DataFrame:
    """arm, seed, set, when, and the path: the recordings that a results folder names."""
    index = pd.read_csv(folder / "recordings.csv")
    return index.assign(path=index["path"].map(folder.parent.parent.joinpath))


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
