"""From finished runs to the two tables that every number and figure is made from."""

import io
from pathlib import Path

import pandas as pd

from interfere import cache
from interfere.study.accuracies import ACCURACIES, accuracies, facts_of_run
from interfere.study.factors import FACTORS, Runs, control_run, factors
from interfere.study.new_recordings import new_keys, new_recording
from interfere.study.overlap_nulls import overlap_nulls
from interfere.study.predictors import study_predictors
from interfere.study.preparation import Prepared
from interfere.study.recording_index import recording_index
from interfere.study.results_folder import (
    read_results,
    results_folder,
    studies_with_results,
)
from interfere.study.run_measures import run_measures
from interfere.study.start_measures import drift_from_base, overlaps

__all__ = [
    "ACCURACIES",
    "FACTORS",
    "Runs",
    "control_run",
    "factors",
    "gather",
    "new_keys",
    "new_recording",
    "read_results",
    "results_folder",
    "studies_with_results",
]


def gather(prepared: Prepared, runs: Runs) -> Path:
    """Write results, facts and predictors (parquet), recordings.csv, study.json; their folder."""
    study = prepared.study
    folder = results_folder(study.name)
    facts = pd.concat([facts_of_run(job, path) for job, path in runs], ignore_index=True)
    measured = [accuracies(facts, runs), drift_from_base(prepared), overlaps(prepared)]
    for job, path in runs:
        measured += [run_measures(job, path, prepared, runs)]
    results = pd.concat(measured, ignore_index=True)
    results = results.reindex(columns=[*FACTORS, "metric", "value"])
    new = {
        (keys, seed): new_recording(prepared, keys, seed)
        for keys in new_keys(prepared)
        for seed in study.seeds
    }
    predictors = study_predictors(prepared, new)
    index = recording_index(prepared, runs, folder)
    with cache.whole_file(folder / "recordings.csv") as draft:
        index.to_csv(draft, index=False)
    with cache.whole_file(folder / "knowledge.csv") as draft:
        prepared.knowledge.counts().to_csv(draft, index=False)
    with cache.whole_file(folder / "study.json") as draft:
        draft.write_text(study.model_dump_json(indent=2) + "\n")
    with cache.whole_file(folder / "overlap_null.csv") as draft:
        nulls = overlap_nulls(folder)
        nulls.reindex(
            columns=nulls.columns if len(nulls) else ["position", "layer"]
        ).to_csv(draft, index=False)
    # The results come last: where they are, the rest is.
    tables = {"facts": facts, "predictors": predictors, "results": results}
    for name, table in tables.items():
        _keep(table, folder / f"{name}.parquet")
    return folder


def _keep(table: pd.DataFrame, path: Path) -> None:
    """Write the table; the same one again leaves the file, and what was made from it, be."""
    with io.BytesIO() as buffer:
        table.to_parquet(buffer, index=False)
        whole = buffer.getvalue()
    if not path.is_file() or path.read_bytes() != whole:
        with cache.whole_file(path) as draft:
            draft.write_bytes(whole)
