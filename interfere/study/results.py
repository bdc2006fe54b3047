"""From finished runs to the two tables that every number and figure is made from."""

from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from interfere import cache
from interfere.activations.recording import Recording, open_recording
from interfere.errors import InputError
from interfere.measures.behaviour import behavioural_interference
from interfere.measures.comparison import compare
from interfere.measures.interference import interference
from interfere.measures.nearest_subject import nearest_subject_share
from interfere.measures.subspace_overlap import overlap
from interfere.study.overlap_nulls import overlap_nulls
from interfere.study.predictors import study_predictors
from interfere.study.preparation import Prepared
from interfere.study.run import Job
from interfere.study.study import plain_control
from interfere.study.workers import worker_count
from interfere.training.names import named_mitigation

FACTORS = (
    "run",
    "arm",
    "mitigation",
    "strength",
    "learning_rate",
    "keys",
    "answers",
    "new_facts",
    "model",
    "seed",
    "split_seed",
    "set",
    "step",
    "epoch",
    "hook",
    "position",
)
"""Columns of results.parquet beside `metric` and `value`: one measurement a row."""

ACCURACIES = {
    "known": "task",
    "unknown": "plasticity",
    "unknown_paraphrase": "plasticity_paraphrase",
    "held_out": "stability",
    "validation": "stability_validation",
}

Runs = Sequence[tuple[Job, Path]]


def results_folder(study: str) -> Path:
    """`cache/results/<study>`."""
    return cache.home() / "results" / study


def gather(prepared: Prepared, runs: Runs) -> Path:
    """Write results, facts and predictors (parquet), recordings.csv, study.json; their folder."""
    study = prepared.study
    folder = results_folder(study.name)
    facts = pd.concat([_facts(job, path) for job, path in runs], ignore_index=True)
    measured = [_behaviour(facts, runs), _start(prepared), _overlaps(prepared)]
    for job, path in runs:
        measured += [_of_run(job, path, prepared, runs)]
    results = pd.concat(measured, ignore_index=True)
    results = results.reindex(columns=[*FACTORS, "metric", "value"])
    new = {
        (keys, seed): new_recording(prepared, keys, seed)
        for keys in new_keys(prepared)
        for seed in study.seeds
    }
    predictors = study_predictors(prepared, new)
    index = _recordings(prepared, runs, folder)
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
        with cache.whole_file(folder / f"{name}.parquet") as draft:
            table.to_parquet(draft, index=False)
    return folder


def factors(job: Job, path: Path) -> dict[str, object]:
    """What distinguishes a run, as columns."""
    arm, study = job.arm, job.study
    new = len(job.split.unknown)
    mitigation = named_mitigation(arm.mitigation, arm.settings)
    return {
        "run": path.name,
        "arm": arm.name,
        "mitigation": arm.mitigation or "none",
        "strength": float(getattr(mitigation, "strength", np.nan)),
        "learning_rate": arm.learning_rate or study.train.learning_rate,
        "keys": arm.keys if new else "none",
        "answers": "natural",
        "new_facts": new,
        "model": study.model,
        "seed": job.seed,
        "split_seed": study.split.seed,
    }


def _facts(job: Job, path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path / "facts.parquet")
    return table.assign(run=path.name, arm=job.arm.name, seed=job.seed)


def _behaviour(facts: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """Accuracy and log-probability of every set by step; net loss of the held out."""
    by = ["run", "set", "step", "epoch"]
    means = facts.groupby(by, sort=False)[["right", "logprob"]].mean().reset_index()
    accuracy = means.assign(metric=means["set"].map(ACCURACIES), value=means["right"])
    scores = means.assign(metric=accuracy["metric"] + "_logprob", value=means["logprob"])
    held = accuracy[accuracy["set"] == "held_out"]
    first = held[held["step"] == 0].set_index("run")["value"]
    loss = held.assign(metric="net_loss", value=held["run"].map(first) - held["value"])
    peak = held.groupby("run")["value"].max()
    last = held.sort_values("step").groupby("run").tail(1)
    tops = last["run"].map(peak)
    forgetting = last.assign(metric="forgetting", value=(tops - last["value"]) / tops)
    table = pd.concat([accuracy, scores, loss, forgetting])
    named = pd.DataFrame([factors(job, path) for job, path in runs])
    # Two arms of one configuration share a run, so a run may stand for several rows.
    return table[[*by, "metric", "value"]].merge(named, on="run")


def _start(prepared: Prepared) -> pd.DataFrame:
    """How far the format checkpoint itself moved from the base."""
    held_out = prepared.split.held_out
    base = prepared.recording("held_out", held_out, of_base=True)
    drift = compare(base, prepared.recording("held_out", held_out)).drift()
    means = drift.groupby(["hook", "position"], sort=False)["drift"].mean().reset_index()
    return _of_start(prepared, means.assign(metric="drift_base", value=means["drift"]))


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


def new_keys(prepared: Prepared) -> list[str]:
    """The kinds of subjects that the study's arms learn, each once."""
    arms = [arm for arm in prepared.study.arms if arm.trains_new]
    return list(dict.fromkeys(arm.keys for arm in arms))


def new_recording(prepared: Prepared, keys: str, seed: int) -> Recording:
    """The new facts as the format checkpoint sees them, before they are learnt."""
    name = "unknown" if keys == "natural" else f"{keys}-{seed}"
    return prepared.recording(name, prepared.new_facts(keys, seed))


def _overlaps(prepared: Prepared) -> pd.DataFrame:
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


def _of_run(job: Job, path: Path, prepared: Prepared, runs: Runs) -> pd.DataFrame:
    """Drift, CKA, interference, and where the wrong answers came from."""
    tables = [_drift(path), _cka(path, prepared), _ranks(path)]
    control = control_run(runs, job.seed)
    if control is not None and len(job.split.unknown):
        tables += [
            _interference(job, path, control, prepared, runs),
            _behavioural(path, control),
            _nearest(job, path, prepared),
        ]
    table = pd.concat(tables)
    given = {"set": "held_out", "step": job.steps, "epoch": job.study.train.epochs}
    for column, value in given.items():
        table[column] = table[column].fillna(value) if column in table else value
    return table.assign(**factors(job, path))


def control_run(runs: Runs, seed: int) -> Path | None:
    """The Known-only control of this seed."""
    found = [path for job, path in runs if plain_control(job.arm) and job.seed == seed]
    return found[0] if found else None


def _drift(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path / "drift.parquet")
    names = {"start": "drift", "base": "drift_base"}
    manifest_steps = table["step"].max()
    epochs = pd.read_parquet(path / "facts.parquet", columns=["step", "epoch"])
    last = epochs.loc[epochs["step"].idxmax()]
    scale = float(last["epoch"]) / float(manifest_steps)
    return table.assign(
        metric=table["reference"].map(names),
        value=table["drift"],
        epoch=table["step"] * scale,
    )[["hook", "position", "step", "epoch", "metric", "value"]]


def _cka(path: Path, prepared: Prepared) -> pd.DataFrame:
    before = prepared.recording("held_out", prepared.split.held_out)
    table = compare(before, path / "held_out-after.h5").cka()
    return table.assign(metric="cka", value=table["cka"])[
        ["hook", "position", "metric", "value"]
    ]


def _ranks(path: Path) -> pd.DataFrame:
    ranks = pd.read_parquet(path / "ranks.parquet")
    rows = [
        {"metric": f"rank_{when}_{name}", "value": value}
        for when in ("start", "end")
        for name, value in (
            ("median", ranks[when].median()),
            ("first", (ranks[when].dropna() == 1).mean()),
        )
    ]
    return pd.DataFrame(rows)


def _interference(
    job: Job, path: Path, control: Path, prepared: Prepared, runs: Runs
) -> pd.DataFrame:
    """Size and direction at the hook that the study declared."""
    settings = prepared.study.interference
    others = [
        p for s in prepared.study.seeds if s != job.seed if (p := control_run(runs, s))
    ]
    found = interference(
        old_before=prepared.recording("held_out", prepared.split.held_out),
        old_after=open_recording(path / "held_out-after.h5"),
        old_control=open_recording(control / "held_out-after.h5"),
        control_again=open_recording(others[0] / "held_out-after.h5") if others else None,
        new=new_recording(prepared, job.arm.keys, job.seed),
        others=prepared.recording("others", prepared.split.others),
        hook=prepared.hook,
        position=settings.position,
        rank=settings.rank,
    )
    names = (
        "size",
        "size_low",
        "size_high",
        "direction",
        "direction_low",
        "direction_high",
    )
    rows = [
        {"metric": f"interference_{name}", "value": getattr(found, name)} for name in names
    ]
    return pd.DataFrame(rows).assign(hook=prepared.hook, position=settings.position)


def _final(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path / "facts.parquet")
    table = table[table["set"] == "held_out"]
    return table[table["step"] == table["step"].max()].set_index("fact")


def _first(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path / "facts.parquet")
    return table[(table["set"] == "held_out") & (table["step"] == 0)].set_index("fact")


def _behavioural(path: Path, control: Path) -> pd.DataFrame:
    before, after = _first(path)["logprob"], _final(path)["logprob"]
    found = behavioural_interference(
        before.to_numpy(),
        after.loc[before.index].to_numpy(),
        _first(control)["logprob"].loc[before.index].to_numpy(),
        _final(control)["logprob"].loc[before.index].to_numpy(),
    )
    return pd.DataFrame([{"metric": "behavioural_interference", "value": found.value}])


def _nearest(job: Job, path: Path, prepared: Prepared) -> pd.DataFrame:
    """Do wrong answers come from the nearest new subject?"""
    final = _final(path).loc[prepared.split.held_out.ids]
    old = prepared.recording("held_out", prepared.split.held_out)
    new = new_recording(prepared, job.arm.keys, job.seed)
    position = prepared.study.interference.position
    found = nearest_subject_share(
        old=old[prepared.hook, position].numpy(),
        new=new[prepared.hook, position].numpy(),
        right=final["right"].to_numpy(),
        responses=final["response"].tolist(),
        new_facts=job.split.unknown,
    )
    rows = {
        "nearest_subject_share": found.share,
        "nearest_subject_permuted": found.permuted,
        "nearest_subject_p": found.p_value,
        "nearest_subject_wrong": found.wrong,
    }
    return pd.DataFrame(rows.items(), columns=["metric", "value"])


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


def _recordings(prepared: Prepared, runs: Runs, folder: Path) -> pd.DataFrame:
    """Where the recordings lie, relative to the results' folder."""
    split = prepared.split
    rows = [
        {
            "arm": "format checkpoint",
            "seed": -1,
            "set": "held_out",
            "when": "before",
            "path": prepared.recording("held_out", split.held_out).path,
        },
    ]
    if len(split.control):
        rows.append(
            {
                "arm": "format checkpoint",
                "seed": -1,
                "set": "control",
                "when": "before",
                "path": prepared.recording("control", split.control).path,
            }
        )
    for keys in new_keys(prepared):
        seed = prepared.study.seeds[0]
        rows.append(
            {
                "arm": "format checkpoint",
                "seed": seed,
                "set": keys,
                "when": "before",
                "path": new_recording(prepared, keys, seed).path,
            }
        )
    rows += [
        {
            "arm": job.arm.name,
            "seed": job.seed,
            "set": "held_out",
            "when": "after",
            "path": path / "held_out-after.h5",
        }
        for job, path in runs
    ]
    table = pd.DataFrame(rows)
    return table.assign(
        path=[
            Path(p).resolve().relative_to(folder.parent.parent.resolve())
            for p in table["path"]
        ]
    )


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
