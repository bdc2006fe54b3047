"""`patching.csv`: where putting back the old activation brings back the old answer."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from interfere.errors import InputError
from interfere.interventions.outcomes import RESAMPLES, Outcomes, outcomes_table

COMPONENTS = {
    "hook_out": "residual stream",
    "hook_attn_out": "attention",
    "hook_mlp_out": "MLP",
    "attn.hook_z": "heads",
}
"""What a block's hooks are called in the table."""


def patching_table(
    arms: Mapping[str, Sequence[Outcomes]], *, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """A row an arm, layer, component, head and position; a study writes it as patching.csv.

    Columns: arm, seeds (how many), facts, layer (of the hook, from 0), component (of
    `COMPONENTS`), hook, position, head (missing where it is not one head), and the numbers
    of `outcomes_table`.

    Args:
        arms: by name, what `activation_patching` gave for each seed, with the format
            checkpoint as source and the tuned model as target.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: no arms, seeds of an arm with other cells or facts, a hook outside the
            blocks.
    """
    if not arms:
        raise InputError("there are no arms to lay out as a patching table")
    tables = []
    for arm, seeds in arms.items():
        table = outcomes_table(seeds, resamples=resamples, seed=seed)
        places = [_place(hook) for hook in table["hook"]]
        table.insert(0, "arm", arm)
        table.insert(1, "seeds", len(seeds))
        table.insert(2, "facts", len(seeds[0].facts))
        table.insert(3, "layer", [layer for layer, _ in places])
        table.insert(4, "component", [component for _, component in places])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _place(hook: str) -> tuple[int, str]:
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook)
    if found is None or found[2] not in COMPONENTS:
        raise InputError(f"{hook} is in no block; a patching table has layers")
    return int(found[1]), COMPONENTS[found[2]]
