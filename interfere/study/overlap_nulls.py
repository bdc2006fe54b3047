"""What overlap would be where nothing is new, at the hooks of a study."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from interfere.activations.recording import open_recording
from interfere.measures.overlap_null import overlap_null
from interfere.models.layers import residual_layer
from interfere.study.results_folder import recordings
from interfere.study.study import Study

NULLS = {"as_old": "old facts as if new", "as_control": "control as if new"}
"""95 % of the draws of `measures.overlap_null`, and what a picture calls them."""


def overlap_nulls(study: Path) -> pd.DataFrame:
    """position, layer, and the ends of both bands, from the study's recordings.

    Empty without a control, or with too few facts to put any in the place of new ones.
    """
    configuration = Study.model_validate_json((study / "study.json").read_text())
    index = recordings(study)
    start = index[index["when"] == "before"].drop_duplicates("set").set_index("set")["path"]
    if "control" not in start:
        return pd.DataFrame()
    old, control = (open_recording(start[name]) for name in ("held_out", "control"))
    rank = configuration.interference.rank
    if min(len(old) // 3, len(control) // 2) <= rank:
        return pd.DataFrame()
    rows = []
    for hook, position in product(old.hooks, old.positions):
        layer = residual_layer(hook)
        if layer is None:
            continue
        null = overlap_null(
            old[hook, position].numpy(),
            control[hook, position].numpy(),
            rank=rank,
            name=f"{hook}/{position}",
        )
        row: dict[str, object] = {"position": position, "layer": layer}
        for name in NULLS:
            ends = np.quantile(getattr(null, name), [0.025, 0.975])
            row |= dict(zip((f"{name}_low", f"{name}_high"), ends, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)
