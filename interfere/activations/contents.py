"""What a recording holds, in tables; finished or not."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from interfere.activations.recording import header, reading


@dataclass(frozen=True)
class Contents:
    """Tables about one file."""

    about: pd.DataFrame
    """Columns: what, value."""
    datasets: pd.DataFrame
    """A row a dataset of activations or scores: name, shape, type, megabytes."""


def contents(path: str | Path) -> Contents:
    """Look into a recording without reading activations.

    Raises:
        InputError: no recording, or a damaged one.
    """
    path = Path(path)
    attributes, finished, prompts = header(path)
    with reading(path) as file:
        done = int(file["chunks/done"][...].sum())
        rows = [
            {
                "name": name,
                "shape": " × ".join(map(str, file[name].shape)),
                "type": file[name].attrs.get("dtype", file[name].dtype.name),
                "MB": file[name].nbytes / 1e6,
            }
            for name in _filled(attributes)
            if name in file
        ]
        chunks = len(file["chunks/done"])
    about = {
        "facts": f"{len(prompts):,}",
        "first prompt": prompts[0].replace("\n", " "),
        "state": "finished" if finished else f"{done} of {chunks} chunks recorded",
        "size": f"{path.stat().st_size / 1e6:,.1f} MB",
        **{shown: str(attributes[name]) for shown, name in SHOWN.items()},
    }
    return Contents(
        pd.DataFrame(about.items(), columns=["what", "value"]), pd.DataFrame(rows)
    )


SHOWN = {
    "model": "model",
    "weights' digest": "weights",
    "tokenizer's digest": "tokenizer",
    "facts' digest": "facts",
    "type": "dtype",
    "device": "device",
    "threads": "threads",
    "batches": "batch_plan",
    "libraries": "libraries",
    "format version": "version",
}
"""Attributes by the words that they are shown under."""


def _filled(attributes: dict[str, str]) -> list[str]:
    hooks, positions = (json.loads(attributes[name]) for name in ("hooks", "positions"))
    names = [f"{hook}/{position}" for hook in hooks for position in positions]
    return [*names, "score/logprob", "score/right"]
