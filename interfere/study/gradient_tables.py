"""Which old facts are at risk and which new facts hurt, by their gradients before training."""

from pathlib import Path

import numpy as np
import pandas as pd

from interfere import cache
from interfere.facts.fact import FactSet
from interfere.measures.gradient_blame import blame
from interfere.study.fact_kernels import Kernels, fact_kernels, sketch_agreement
from interfere.study.fresh import is_fresh
from interfere.study.preparation import Prepared, Say
from interfere.study.results import Runs, new_keys
from interfere.study.study import Study, plain_arm

RISK, BLAME, KERNEL, AGREEMENT = FILES = (
    "gradient_risk.parquet",
    "gradient_blame.parquet",
    "gradient_kernel.parquet",
    "gradient_agreement.csv",
)
"""What `gradient_tables` writes."""

SHOWN = 300
"""Old facts, and new facts, of the pairs that a picture shows: more are not legible."""

SURE = 0.95
"""Correlation with the exact products below which a sketch is called too coarse."""


def gradient_tables(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write the tables in FILES; nothing where they are there and as new as the results.

    At the format checkpoint, before training, for each kind of keys and seed.

    - gradient_risk.parquet: keys, seed, fact (held out), and the columns of
      `risk_columns`: predictors of forgetting.
    - gradient_blame.parquet: keys, seed, optimizer, fact (new), and the columns of
      `measures.gradient_blame.blame`.
    - gradient_kernel.parquet: of the first plain arm that learns new facts under the first
      seed (or of the first kind of keys), a row a pair of up to SHOWN old and SHOWN new
      facts drawn at random; see `GradientKernel.table`.
    - gradient_agreement.csv: of the same kernel, what its sketch is worth
      (`sketch_agreement`).

    Args:
        prepared: the study's common start.
        runs: none is read: all of this comes before them.
        folder: the study's results.
        say: is told in a line what goes on.

    Raises:
        InputError: a folder without results, or an architecture whose gradients aren't all
            seen.
    """
    study, kinds = prepared.study, new_keys(prepared)
    if all(is_fresh(folder / name) for name in FILES):
        return
    if not kinds:
        say("no arm learns new facts: no gradients to hold against each other")
        return
    risks, blames = [], []
    for keys in kinds:
        for seed in _distinct(study, keys):
            say(f"gradients of old and new facts, {keys} subjects, seed {seed}")
            kernels = fact_kernels(prepared, keys, seed)
            same = study.seeds if keys == "natural" else [seed]
            risk, harm = risk_columns(kernels), _blame(kernels)
            risks += [_of(risk, keys, own) for own in same]
            blames += [_of(harm, keys, own) for own in same]
    plain = plain_arm(study)
    shown = plain.keys if plain else kinds[0]
    kernels = fact_kernels(prepared, shown, study.seeds[0])
    agreement = sketch_agreement(prepared, shown, study.seeds[0])
    say(_agreement_line(agreement))
    _write(folder / KERNEL, _pairs(kernels))
    _write(folder / BLAME, pd.concat(blames, ignore_index=True))
    _write(folder / RISK, pd.concat(risks, ignore_index=True))
    with cache.whole_file(folder / AGREEMENT) as draft:
        agreement.to_csv(draft, index=False)


def risk_columns(kernels: Kernels) -> pd.DataFrame:
    """Predictors that the gradients give; a row an old fact.

    Columns: fact, and for each optimizer gradient_risk_… (predicted rise of the fact's
    loss, nats, by a step of learning rate 1 on each new fact's summed loss, all added up)
    and gradient_cosine_… (mean cosine with the new facts' gradients, in [-1, 1]; NaN where
    the old fact's own is 0).
    """
    columns: dict[str, object] = {}
    for name, kernel in kernels.items():
        columns["fact"] = kernel.old.ids
        columns[f"gradient_risk_{name}"] = kernel.rise(1.0).sum(1)
        # A new fact without a gradient has no direction, and no say.
        cosine = pd.DataFrame(kernel.cosine())
        columns[f"gradient_cosine_{name}"] = cosine.mean(axis=1).to_numpy()
    return pd.DataFrame(columns)


def _blame(kernels: Kernels) -> pd.DataFrame:
    tables = []
    for name, kernel in kernels.items():
        table = blame(kernel).rename(columns={"id": "fact"})
        table.insert(0, "optimizer", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _pairs(kernels: Kernels) -> pd.DataFrame:
    tables = []
    for kernel in kernels.values():
        sides = _some(kernel.old), _some(kernel.new)
        tables.append(kernel.part(*sides).table())
    return pd.concat(tables, ignore_index=True)


def _some(facts: FactSet) -> list[str]:
    """Ids of up to SHOWN facts, in the facts' order; the same in each call."""
    generator = np.random.default_rng(0)
    chosen = generator.choice(len(facts), min(SHOWN, len(facts)), replace=False)
    return [facts[int(place)].id for place in np.sort(chosen)]


def _distinct(study: Study, keys: str) -> tuple[int, ...]:
    """Natural subjects are the same under every seed."""
    return study.seeds[:1] if keys == "natural" else study.seeds


def _of(table: pd.DataFrame, keys: str, seed: int) -> pd.DataFrame:
    table = table.copy()
    table.insert(0, "keys", keys)
    table.insert(1, "seed", seed)
    return table


def _agreement_line(agreement: pd.DataFrame) -> str:
    worst = float(agreement[["product", "cosine"]].to_numpy().min())
    size = f"{agreement['old'].iloc[0]} × {agreement['new'].iloc[0]}"
    line = (
        f"sketched gradients correlate at {worst:.3f} or more with an exact block of {size}"
    )
    # NaN is no agreement.
    return line if worst >= SURE else f"{line}: below {SURE}, too coarse to rely on"


def _write(path: Path, table: pd.DataFrame) -> None:
    with cache.whole_file(path) as draft:
        table.to_parquet(draft, index=False)
