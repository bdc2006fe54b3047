"""Everything that is measured of a finished study and takes long, step by step."""

from collections.abc import Callable, Collection
from pathlib import Path

from interfere.errors import InputError
from interfere.study.factors import Runs
from interfere.study.gradient_tables import gradient_tables
from interfere.study.leave_out_table import leave_out_table
from interfere.study.manifest import is_finished
from interfere.study.mechanisms import mechanisms
from interfere.study.moved_weights import moved_weights
from interfere.study.patched_arms import patching, shifts
from interfere.study.prediction_table import prediction_table
from interfere.study.preparation import Prepared, Say, prepare
from interfere.study.repaired_arms import repairs
from interfere.study.results_folder import read_results
from interfere.study.runner import plan
from interfere.study.study import Study

Step = Callable[[Prepared, Runs, Path, Say], None]

STEPS: dict[str, Step] = {
    "mechanisms": mechanisms,
    "weights": moved_weights,
    "patching": patching,
    "shifts": shifts,
    "repairs": repairs,
    "gradients": gradient_tables,
    "prediction": prediction_table,
    "leave-out": leave_out_table,
}
"""In their order: predictions read the gradients. Each writes its files whole, and nothing
where they are as new as the results."""

APART = ("workers", "device", "architecture", "leave_out")
"""Fields of a study that results do not depend on, or that runs are told apart by."""


def measure(study: Study, say: Say = lambda _: None, *, skip: Collection[str] = ()) -> Path:
    """Take every step that is not done yet; gives the results' folder.

    Args:
        study: finished, and with the same settings.
        say: is told in a line what goes on.
        skip: names of STEPS that are not taken.

    Raises:
        InputError: a step of no such name, the study has no results, these are of another
            configuration, or runs are missing.
    """
    for name in skip:
        if name not in STEPS:
            raise InputError(f"no step is called {name!r}; there are {', '.join(STEPS)}")
    folder = read_results(study.name)
    _check_same(study, folder)
    prepared = prepare(study, say)
    jobs = plan(prepared)
    missing = [job for job in jobs if not is_finished(job.folder)]
    if missing:
        raise InputError(
            f"{study.name}: {len(missing)} of {len(jobs)} runs are not there, among them "
            f"{missing[0].arm.name!r} under seed {missing[0].seed}; run `interfere reproduce "
            f"{study.name}` with the same settings first"
        )
    runs = [(job, job.folder) for job in jobs]
    for name, step in STEPS.items():
        if name in skip:
            continue
        try:
            step(prepared, runs, folder, say)
        except InputError as reason:
            say(f"{name} left out: {reason}")
    return folder


def _check_same(study: Study, folder: Path) -> None:
    """Results of another configuration would stand beside this one's runs."""
    stored = Study.model_validate_json((folder / "study.json").read_text())
    for name in Study.model_fields:
        asked, had = getattr(study, name), getattr(stored, name)
        if name not in APART and asked != had:
            raise InputError(
                f"{study.name}: its results were made with another {name} ({had!r}, now "
                f"{asked!r}); give the same settings, or run `interfere reproduce "
                f"{study.name}` with these"
            )
