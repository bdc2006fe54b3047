"""Draw every figure of a study: each script of `analyses/`, by its file name."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from interfere import cache
from interfere.errors import InputError
from interfere.study.results import read_results


def scripts() -> list[Path]:
    """The analyses: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "analyses", package / "analyses"):
        if found := sorted(folder.glob("[!_]*.py")):
            return found
    raise InputError(f"no analyses beside {package} or in it; install interfere again")


def draw_all(
    study: str, say: Callable[[str], None] = lambda _: None, *, deep: bool = False
) -> list[Path]:
    """Run every script on the study's results; returns the pictures (PNG).

    A script whose numbers the study doesn't have is passed over, and said so. Scripts that
    measure for long before they draw say so by `DEEP = True`.

    Args:
        study: its name.
        say: told what goes on.
        deep: run those scripts too.

    Raises:
        InputError: the study has no results.
    """
    results = read_results(study)
    out = cache.home() / "figures" / study
    drawn = []
    for script in scripts():
        module = _load(script)
        if getattr(module, "DEEP", False) and not deep:
            say(f"{script.stem} left out: it measures for long; --deep draws it")
            continue
        say(f"drawing {script.stem}")
        try:
            module.main(results, out)
        except InputError as reason:
            say(f"{script.stem} left out: {reason}")
            continue
        drawn.append(out / f"{script.stem}.png")
    return drawn


def _load(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"interfere_analysis_{script.stem}", script
    )
    if spec is None or spec.loader is None:
        raise InputError(f"{script} can't be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
