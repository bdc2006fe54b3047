"""What a study knows of its held-out facts before any arm is trained, and what came of them."""

from pathlib import Path

import numpy as np
import pandas as pd

from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.measures.fact_overlap import fact_overlap, new_distance
from interfere.measures.token_overlap import subject_overlap
from interfere.models.model import Model
from interfere.study.fresh import is_fresh
from interfere.study.preparation import Prepared
from interfere.study.study import Study, plain_control

NEIGHBOURS = 10
FACTORS = ("keys", "seed", "fact")
"""Columns of predictors.parquet beside the predictors: what a row is of."""


def known_before(facts: FactSet, knowledge: pd.DataFrame) -> pd.DataFrame:
    """Predictors that have nothing to do with the new facts; a row a fact, in its order.

    Columns: fact, margin (prior-corrected, nats), p_correct (mean over the few-shot
    prompts), popularity (log10 of 1 + the source's number). Missing where unknown.

    Args:
        facts: held-out facts.
        knowledge: `Knowledge.table`.
    """
    ids = facts.ids
    rows = knowledge.set_index("id").loc[ids]
    popular = pd.to_numeric(facts.table["popularity"], errors="coerce").to_numpy()
    return pd.DataFrame(
        {
            "fact": ids,
            "margin": rows["margin"].to_numpy(),
            "p_correct": rows["p_correct"].to_numpy(),
            "popularity": np.log10(1 + popular.astype(np.float64)),
        }
    )


def near_new_facts(
    old: Recording,
    new: Recording,
    control: Recording | None,
    *,
    hook: str,
    position: str,
    rank: int,
) -> pd.DataFrame:
    """Predictors that the format checkpoint's activations give; a row a held-out fact.

    Columns: fact, overlap (`fact_overlap`; not without a control), new_distance (to the
    NEIGHBOURS nearest new facts).

    Raises:
        InputError: a hook or position that a recording lacks, a rank that the facts can't
            have, or a NaN or infinite activation.
    """
    name = f"{hook}/{position}"
    x, y = old[hook, position].numpy(), new[hook, position].numpy()
    columns = {"fact": old.table["id"]}
    if control is not None:
        z = control[hook, position].numpy()
        columns["overlap"] = fact_overlap(x, y, z, rank=rank, name=name)
    neighbours = min(NEIGHBOURS, len(y))
    columns["new_distance"] = new_distance(x, y, neighbours=neighbours, name=name)
    return pd.DataFrame(columns)


def like_new_subjects(model: Model, old: FactSet, new: FactSet) -> pd.DataFrame:
    """What the tokenizer alone says: fact, token_overlap; a row a held-out fact.

    token_overlap: the largest Jaccard index of the subject's tokens with a new subject's
    (`subject_overlap`), in [0, 1].

    Raises:
        InputError: no facts, or a question that doesn't hold its subject.
    """
    found = subject_overlap(model, old, new)[["fact", "jaccard"]]
    return found.rename(columns={"jaccard": "token_overlap"})


def join(predictors: pd.DataFrame, extra: pd.DataFrame) -> pd.DataFrame:
    """Further columns, by `fact` and by `keys` and `seed` where `extra` has them.

    Raises:
        InputError: no column `fact`, a row there twice, a predictor that is there already,
            or a fact that `extra` lacks.
    """
    by = [name for name in FACTORS if name in extra.columns and name in predictors.columns]
    if "fact" not in by:
        raise InputError(f"further predictors need the column fact; got {list(extra)}")
    if again := set(extra.columns) & set(predictors.columns) - set(by):
        raise InputError(f"the predictor {sorted(again)[0]} is there already; rename it")
    if extra.duplicated(by).any():
        raise InputError(f"further predictors hold {by} {tuple(_twice(extra, by))} twice")
    found = predictors.merge(extra, on=by, how="left", indicator=True)
    if (lacking := found[found["_merge"] == "left_only"]).size:
        raise InputError(f"further predictors lack the fact {lacking['fact'].iloc[0]}")
    return found.drop(columns="_merge")


def study_predictors(
    prepared: Prepared, recorded: dict[tuple[str, int], Recording]
) -> pd.DataFrame:
    """All of the above, for each kind of new subjects and seed.

    Columns: keys, seed, fact, then a column a predictor.

    Args:
        prepared: the study's common start.
        recorded: the new facts at the format checkpoint, by keys and seed.
    """
    split, settings = prepared.split, prepared.study.interference
    old = prepared.recording("held_out", split.held_out)
    control = prepared.recording("control", split.control) if len(split.control) else None
    before = known_before(split.held_out, prepared.knowledge.table)
    tables = []
    for (keys, seed), new in recorded.items():
        near = near_new_facts(
            old,
            new,
            control,
            hook=prepared.hook,
            position=settings.position,
            rank=settings.rank,
        )
        alike = like_new_subjects(
            prepared.base, split.held_out, prepared.new_facts(keys, seed)
        )
        table = join(join(before, near), alike)
        table.insert(0, "keys", keys)
        table.insert(1, "seed", seed)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def read_predictors(folder: Path) -> pd.DataFrame:
    """predictors.parquet, with gradient_risk.parquet joined where it stands for the results.

    Raises:
        InputError: a study whose results hold no predictors.
    """
    file = folder / "predictors.parquet"
    if not file.is_file():
        raise InputError(
            f"{folder} holds no predictors; run `interfere reproduce {folder.name}` again"
        )
    predictors, risk = pd.read_parquet(file), folder / "gradient_risk.parquet"
    # One of an earlier run may be of other facts, or of another checkpoint.
    return join(predictors, pd.read_parquet(risk)) if is_fresh(risk) else predictors


def forgetting_of(
    study: Study, facts: pd.DataFrame, predictors: pd.DataFrame, arm: str
) -> tuple[pd.DataFrame, list[str]]:
    """An arm's table for `predict_forgetting`, and the predictors that every fact has.

    Args:
        study: the configuration.
        facts: facts.parquet.
        predictors: predictors.parquet, with any columns joined to it.
        arm: one that trains new facts.

    Raises:
        InputError: no such arm, one that learns nothing new, or no Known-only control.
    """
    named = {own.name: own for own in study.arms}
    if arm not in named or not named[arm].trains_new:
        learn = ", ".join(own.name for own in study.arms if own.trains_new)
        raise InputError(f"{study.name}: {arm!r} learns no new facts; these do: {learn}")
    control = next((own.name for own in study.arms if plain_control(own)), None)
    if control is None:
        raise InputError(
            f"study {study.name} has no Known-only control to hold its forgetting against"
        )
    held = facts[facts["set"] == "held_out"]
    by = ["seed", "fact"]
    first, last = (_evaluation(held, arm, which) for which in ("min", "max"))
    other = _evaluation(held, control, "max")
    outcomes = first[[*by, "answer", "logprob", "right"]].merge(
        last[[*by, "logprob", "right"]], on=by, suffixes=("_before", "_after")
    )
    outcomes = outcomes.merge(other[[*by, "logprob"]], on=by)
    names = {
        "logprob_before": "before",
        "logprob_after": "after",
        "logprob": "control",
    }
    own = predictors[predictors["keys"] == named[arm].keys].drop(columns="keys")
    table = outcomes.rename(columns=names).merge(own, on=by)
    columns = [name for name in own.columns if name not in FACTORS]
    return table, [name for name in columns if table[name].notna().all()]


def _evaluation(held: pd.DataFrame, arm: str, which: str) -> pd.DataFrame:
    rows = held[held["arm"] == arm]
    return rows[rows["step"] == rows.groupby("seed")["step"].transform(which)]


def _twice(table: pd.DataFrame, by: list[str]) -> list[object]:
    return list(table[table.duplicated(by)][by].iloc[0])
