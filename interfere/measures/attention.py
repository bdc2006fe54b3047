"""Attention to the question's subject, before and after: does training look away?"""

import numpy as np
import pandas as pd

from interfere.errors import InputError
from interfere.measures.comparison import Comparison
from interfere.measures.interval_columns import corrected, interval_columns
from interfere.measures.rows import as_rows
from interfere.measures.statistics import mean_interval
from interfere.models.hooks import MASS
from interfere.models.layers import layer

MEAN = "mean"
"""Stands for a head where the mean over heads is meant."""


def subject_attention(
    change: Comparison, *, heads: bool = False, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Attention mass on the subject's tokens: a row a hook and position (and head).

    Columns: hook, layer, position, head ("mean", or with `heads` also 0, 1, …), facts; then
    before, after (shares of a token's attention, in [0, 1]) and change (after -
    before), each with `…_low`, `…_high` and `…_smallest`, and change_p, change_p_holm
    (over all rows: some heads change by chance). Intervals (95 %) resample answers. At
    subject_last a token attends to itself, too; what prompt_last gives is what the
    answer is made from.

    Args:
        change: of recordings with `blocks.*.attn.hook_subject_mass`.
        heads: each head, too.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: recordings without that hook, a NaN or infinite value, or one outside
            [0, 1].

    Source: after the attention analysis of arXiv 2511.02626 (KnownPatch), which finds that
    learning new facts takes attention from the question's key entity.
    """
    pair = change.pair
    hooks = [hook for hook in pair.hooks if hook.endswith(MASS)]
    if not hooks:
        raise InputError(
            f"{pair.before.path} and {pair.after.path} hold no attention to the subject in "
            f"common; record both with hooks='blocks.*.{MASS}'"
        )
    answers = pair.before.table["answer"]
    rows = []
    for position in pair.positions:
        for hook in hooks:
            name = f"{hook}/{position}"
            before, after = (
                _mass(side.numpy(), f"{time}, {name}")
                for time, side in zip(
                    ("before", "after"), pair[hook, position], strict=True
                )
            )
            for head in [MEAN, *(range(before.shape[1]) if heads else ())]:
                x, y = (m.mean(1) if head == MEAN else m[:, head] for m in (before, after))
                intervals = {
                    key: mean_interval(
                        values[None], answers, resamples=resamples, seed=seed
                    )
                    for key, values in {"before": x, "after": y, "change": y - x}.items()
                }
                place = {"hook": hook, "layer": layer(hook), "position": position}
                place |= {"head": head, "facts": len(x)}
                rows.append(place | interval_columns(**intervals))
    return corrected(pd.DataFrame(rows), ["change"])


def _mass(values: np.ndarray, name: str) -> np.ndarray:
    mass = as_rows(values, name)
    beyond = (mass < 0) | (mass > 1 + 1e-2)  # bfloat16 sums to one within a hundredth
    if beyond.any():
        fact, head = np.argwhere(beyond)[0]
        raise InputError(
            f"{name}: fact {fact}, head {head} has the mass {mass[fact, head]:.4g}, beyond "
            "[0, 1]; record it anew"
        )
    return mass
