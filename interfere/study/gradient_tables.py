"""Which old facts are at risk and which new facts hurt, by their gradients before training."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from interfere import cache
from interfere.facts.fact import FactSet
from interfere.interventions.gradient_harm import GradientHarm
from interfere.measures.gradient_kernel import Optimizer
from interfere.study.fresh import is_fresh
from interfere.study.kept_gradients import kept_harm, kept_kernels, sketch_agreement
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

SURE = 0.95
"""Correlation with the exact products below which a sketch is called too coarse."""


def gradient_tables(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write the tables in FILES; nothing where they are there and as new as the results.

    At the format checkpoint, before training, for each kind of keys and seed.

    - gradient_risk.parquet: keys, seed, fact (held out), and the columns of
      `risk_columns`: predictors of forgetting.
    - gradient_blame.parquet: keys, seed, and the columns of `blame_rows`: the other way
      round. Of these held-out facts; how far it would hold of others the intervals of
      `measures.gradient_blame` say, which a kernel of pairs gives.
    - gradient_kernel.parquet: of plain SFT's new facts under the first seed (without such an
      arm of the first kind of keys), a row a pair of facts; see `kept_kernels` and
      `GradientKernel.table`.
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
            harm = kept_harm(prepared, keys, seed)
            risk = risk_columns(prepared.split.held_out, harm)
            blame = blame_rows(prepared.new_facts(keys, seed), harm)
            for own in study.seeds if keys == "natural" else [seed]:
                risks.append(_of(risk, keys, own))
                blames.append(_of(blame, keys, own))
    plain = plain_arm(study)
    shown = plain.keys if plain else kinds[0]
    say(f"gradients of pairs, {shown} subjects")
    pairs = [k.table() for k in kept_kernels(prepared, shown, study.seeds[0]).values()]
    agreement = sketch_agreement(prepared, shown, study.seeds[0])
    say(_agreement_line(agreement))
    _write(folder / KERNEL, pd.concat(pairs, ignore_index=True))
    _write(folder / BLAME, pd.concat(blames, ignore_index=True))
    _write(folder / RISK, pd.concat(risks, ignore_index=True))
    with cache.whole_file(folder / AGREEMENT) as draft:
        agreement.to_csv(draft, index=False)


def risk_columns(old: FactSet, harm: Mapping[Optimizer, GradientHarm]) -> pd.DataFrame:
    """Predictors that the gradients give; a row an old fact.

    Columns: fact, and for each optimizer gradient_risk_… and gradient_cosine_…: see `risk`
    and `cosine` of `GradientHarm`.
    """
    columns: dict[str, object] = {"fact": old.ids}
    for name, own in harm.items():
        columns |= {
            f"gradient_risk_{name}": own.risk,
            f"gradient_cosine_{name}": own.cosine,
        }
    return pd.DataFrame(columns)


def blame_rows(new: FactSet, harm: Mapping[Optimizer, GradientHarm]) -> pd.DataFrame:
    """optimizer, fact, subject, answer, blame (see `GradientHarm`); the most blamed first."""
    facts = new.table[["id", "subject", "answer"]].rename(columns={"id": "fact"})
    tables = []
    for name, own in harm.items():
        table = facts.assign(blame=own.blame)
        table.insert(0, "optimizer", name)
        tables.append(table.sort_values("blame", ascending=False, kind="stable"))
    return pd.concat(tables, ignore_index=True)


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
