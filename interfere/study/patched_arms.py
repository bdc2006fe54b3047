"""Where putting back what was before brings back old answers, in a study's arms."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from interfere import cache
from interfere.interventions.activation_patching import HOOKS, activation_patching
from interfere.interventions.counterfactual_shift import counterfactual_shift
from interfere.interventions.outcomes import outcomes_table
from interfere.interventions.patching_table import patching_table
from interfere.measures.holm import holm
from interfere.study.factors import Runs
from interfere.study.fresh import is_fresh
from interfere.study.kept_models import (
    kept_models,
    looked_into,
    right_before,
    weights_are_kept,
)
from interfere.study.preparation import Prepared, Say

PATCHING, SHIFT = "patching.csv", "shift.csv"

MOST = 150
"""Facts that are asked: every block, component and position costs them a forward pass."""

BLOCKS = 10
"""Blocks that are tried, the first and the last among them, as far apart as can be."""

SHIFTED_AT = ("subject_last", "prompt_last")


def patching(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write patching.csv (`interventions.patching_table`), unless it is as new as the results.

    Plain SFT and self-distillation on the same keys, from the format checkpoint into what
    they trained, at up to BLOCKS blocks; up to MOST held-out facts that were right before.

    Args:
        prepared: the study's common start.
        runs: jobs and their folders; without kept weights nothing is written.
        folder: the study's results.
        say: is told in a line what goes on.
    """
    if is_fresh(folder / PATCHING) or not weights_are_kept(prepared.study, "patching", say):
        return
    facts = right_before(prepared, MOST)
    hooks = some_blocks(prepared.start.layers, HOOKS)
    found = {}
    for arm in looked_into(prepared.study):
        say(f"patching old activations into {arm!r}")
        found[arm] = [
            activation_patching(prepared.start, tuned, facts, hooks=hooks)
            for tuned in kept_models(prepared, runs, arm)
        ]
    if found:
        _write(patching_table(found), folder / PATCHING)


def shifts(prepared: Prepared, runs: Runs, folder: Path, say: Say) -> None:
    """Write shift.csv, unless it is as new as the results.

    Columns: arm, and those of `outcomes_table` for `counterfactual_shift` at each of
    SHIFTED_AT, p_holm being over all of an arm. Arms, blocks, facts and arguments as in `patching`.
    """
    if is_fresh(folder / SHIFT) or not weights_are_kept(prepared.study, "shifts", say):
        return
    facts = right_before(prepared, MOST)
    hooks = some_blocks(prepared.start.layers, ["blocks.*.hook_out"])
    tables = []
    for arm in looked_into(prepared.study):
        say(f"taking the common shift, and the rest, out of {arm!r}")
        own = []
        for position in SHIFTED_AT:
            found = [
                counterfactual_shift(
                    prepared.start, tuned, facts, hooks=hooks, position=position
                )
                for tuned in kept_models(prepared, runs, arm)
            ]
            own.append(outcomes_table(found))
        table = pd.concat(own, ignore_index=True)
        table["p_holm"] = holm(table["gain_p"].to_numpy())
        table.insert(0, "arm", arm)
        tables.append(table)
    if tables:
        _write(pd.concat(tables, ignore_index=True), folder / SHIFT)


def some_blocks(layers: int, patterns: Sequence[str]) -> list[str]:
    """Hooks of up to BLOCKS blocks of so many, evenly spread.

    Args:
        layers: blocks that the model has.
        patterns: names of hooks with `*` for the block.
    """
    some = np.linspace(0, layers - 1, min(BLOCKS, layers)).round().astype(int)
    return [pattern.replace("*", str(block)) for pattern in patterns for block in some]


def _write(table: pd.DataFrame, path: Path) -> None:
    with cache.whole_file(path) as draft:
        table.to_csv(draft, index=False)
