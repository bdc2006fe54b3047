"""What is measured at the format checkpoint, before any arm is trained."""

import joblib
import pandas as pd
from threadpoolctl import threadpool_limits

from interfere.measures.subspace_overlap import overlap
from interfere.study.drift_table import as_metrics, drift_table
from interfere.study.new_recordings import new_keys, new_recording
from interfere.study.preparation import Prepared
from interfere.study.workers import worker_count


def drift_from_base(prepared: Prepared) -> pd.DataFrame:
    """How far the format checkpoint itself moved from the base."""
    held_out = prepared.split.held_out
    base = prepared.recording("held_out", held_out, of_base=True)
    table = drift_table(base, prepared.recording("held_out", held_out))
    return _of_start(prepared, as_metrics(table, "drift_base"))


def overlaps(prepared: Prepared) -> pd.DataFrame:
    """Overlap of each kind of new facts with the old, at the format checkpoint."""
    split, settings = prepared.split, prepared.study.interference
    if not len(split.control):
        return pd.DataFrame()
    old = prepared.recording("held_out", split.held_out)
    control = prepared.recording("control", split.control)
    places = [
        (keys, seed, position, new_recording(prepared, keys, seed))
        for keys in new_keys(prepared)
        for seed in (
            prepared.study.seeds if keys != "natural" else prepared.study.seeds[:1]
        )
        for position in old.positions
    ]
    # Small matrices are no faster on more threads: each place has one of its own.
    with threadpool_limits(1):
        found = joblib.Parallel(
            n_jobs=worker_count(prepared.study, len(places)), prefer="threads"
        )(
            joblib.delayed(overlap)(
                old=old, new=new, control=control, position=position, rank=settings.rank
            )
            for _, _, position, new in places
        )
    tables = []
    for (keys, seed, position, _), table in zip(places, found, strict=True):
        wide = table.rename(columns={"low": "overlap_low", "high": "overlap_high"})
        long = wide.melt(
            id_vars=["hook"],
            value_vars=["overlap", "overlap_low", "overlap_high", "mean_distance"],
            var_name="metric",
        )
        tables.append(long.assign(position=position, keys=keys, seed=seed))
    return _of_start(prepared, pd.concat(tables))


def _of_start(prepared: Prepared, table: pd.DataFrame) -> pd.DataFrame:
    study = prepared.study
    return table.assign(
        arm="format checkpoint",
        model=study.model,
        split_seed=study.split.seed,
        set="held_out",
        step=0,
        epoch=0.0,
    )
