"""What is measured of each finished run."""

from pathlib import Path

import pandas as pd

from interfere.activations.recording import open_recording
from interfere.measures.behaviour import behavioural_interference
from interfere.measures.comparison import compare
from interfere.measures.interference import interference
from interfere.measures.nearest_subject import nearest_subject_share
from interfere.study.drift_table import as_metrics
from interfere.study.factors import Runs, control_run, factors
from interfere.study.new_recordings import new_keys, new_recording
from interfere.study.preparation import Prepared
from interfere.study.run import Job


def run_measures(job: Job, path: Path, prepared: Prepared, runs: Runs) -> pd.DataFrame:
    """Drift, CKA, interference, and where the wrong answers came from."""
    tables = [_drift(path), _cka(path, prepared), _ranks(path), _cost(path)]
    control = control_run(runs, job.seed)
    if control is not None and len(job.split.unknown):
        tables += [
            _interference(job, path, control, prepared, runs),
            _behavioural(path, control),
        ]
    if job.arm.keys in new_keys(prepared):  # the control's too, to hold the others against
        tables.append(_nearest(job, path, prepared))
    table = pd.concat(tables)
    given = {"set": "held_out", "step": job.steps, "epoch": job.study.train.epochs}
    for column, value in given.items():
        table[column] = table[column].fillna(value) if column in table else value
    return table.assign(**factors(job, path))


def _drift(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path / "drift.parquet")
    names = {"start": "drift", "base": "drift_base"}
    manifest_steps = table["step"].max()
    epochs = pd.read_parquet(path / "facts.parquet", columns=["step", "epoch"])
    last = epochs.loc[epochs["step"].idxmax()]
    scale = float(last["epoch"]) / float(manifest_steps)
    found = pd.concat(
        as_metrics(own, names[reference]) for reference, own in table.groupby("reference")
    )
    return found.assign(epoch=found["step"] * scale).drop(columns="reference")


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


def _cost(path: Path) -> pd.DataFrame:
    """Rows forward and backward, teacher's rows, seconds: see `training.cost.Cost`."""
    cost = pd.read_csv(path / "cost.csv").iloc[0]
    return pd.DataFrame({"metric": "cost_" + cost.index, "value": cost.to_numpy(float)})


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
        new_facts=prepared.new_facts(job.arm.keys, job.seed),
    )
    rows = {
        "nearest_subject_share": found.share,
        "nearest_subject_permuted": found.permuted,
        "nearest_subject_p": found.p_value,
        "nearest_subject_wrong": found.wrong,
    }
    return pd.DataFrame(rows.items(), columns=["metric", "value"])


def _first(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path / "facts.parquet")
    return table[(table["set"] == "held_out") & (table["step"] == 0)].set_index("fact")


def _final(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path / "facts.parquet")
    table = table[table["set"] == "held_out"]
    return table[table["step"] == table["step"].max()].set_index("fact")
