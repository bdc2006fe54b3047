"""Whether a table that was made from a study's results still stands for them."""

from pathlib import Path

from interfere.errors import InputError


def is_fresh(target: Path, *sources: str) -> bool:
    """Whether the file is there and not older than what it was made from.

    Args:
        target: a file in a study's results folder.
        sources: further files in that folder, beside the results themselves; one that is
            not there doesn't count.

    Raises:
        InputError: a folder without results.
    """
    folder = target.parent
    results = folder / "results.parquet"
    if not results.is_file():
        raise InputError(
            f"{folder} holds no results; run `interfere reproduce {folder.name}` first"
        )
    if not target.is_file():
        return False
    made_from = [results, *(path for name in sources if (path := folder / name).is_file())]
    newest = max(path.stat().st_mtime_ns for path in made_from)
    return target.stat().st_mtime_ns >= newest
