"""A finished recording: activations by hook and position, read when they are asked for."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from interfere.activations import seal
from interfere.activations.activations import Activations, activations, file_state
from interfere.activations.layout import FACT_FIELDS, FORMAT, VERSION, checksum
from interfere.errors import InputError
from interfere.models.hooks import canonical, unknown


@dataclass(frozen=True)
class Recording:
    """What one model does on a set of facts; row i is fact i everywhere.

    No handle stays open: each access opens the file, reads what it needs, and closes it.
    """

    path: Path
    hooks: list[str]
    """In the order of the forward pass."""
    positions: list[str]
    attributes: dict[str, Any]
    """The file's: format, version, model, weights, tokenizer, facts, libraries, dtype, …"""
    state: tuple[int, int, int]
    """The file's inode, size and time of change when it was opened."""

    def __getitem__(self, key: tuple[str, str]) -> Activations:
        """Activations at (hook, position), not read until rows are asked for.

        Shape [facts, d]; for `attn.hook_z` [facts, heads, d_head].

        Raises:
            InputError: a hook or position that was not recorded, or a damaged file.
        """
        hook, position = canonical(key[0]), key[1]
        if hook not in self.hooks:
            raise unknown("hook", key[0], self.hooks)
        if position not in self.positions:
            raise unknown("position", position, self.positions)
        if file_state(self.path) != self.state:
            raise InputError(f"{self.path} has changed since it was opened; open it again")
        bfloat16 = self.attributes["dtype"] == "bfloat16"
        return _located(self.path, self.state, f"{hook}/{position}", bfloat16)

    def __len__(self) -> int:
        return len(self.prompts)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a fact: id, subject, relation, answer."""
        return pd.DataFrame({name: self._text(f"facts/{name}") for name in FACT_FIELDS})

    @cached_property
    def prompts(self) -> list[str]:
        """What each fact was asked as."""
        return self._text("prompts")

    @cached_property
    def tokens(self) -> list[Int[np.ndarray, " tokens"]]:
        """Token ids of each fact's prompt, canonical answer and its end."""
        return np.split(self._read("tokens/ids"), self._read("tokens/offsets")[1:-1])

    @cached_property
    def logprob(self) -> Float[np.ndarray, " facts"]:
        """Of the canonical answer and its end, in nats, at temperature 1."""
        return self._scores("score/logprob")

    @cached_property
    def right(self) -> Bool[np.ndarray, " facts"]:
        """Whether greedy decoding gives the canonical answer and ends it."""
        return self._scores("score/right").astype(bool)

    def at(self, position: str) -> Int[np.ndarray, " facts"]:
        """The token index of a position in each fact's `tokens`."""
        if position not in self.positions:
            raise unknown("position", position, self.positions)
        return self._read(f"positions/{position}")

    def _scores(self, name: str) -> np.ndarray:
        if not self.attributes.get("scores", 1):
            raise InputError(f"{self.path} was recorded without scores; record it anew")
        return self._read(name)

    def _read(self, name: str) -> np.ndarray:
        with reading(self.path) as file:
            return np.asarray(file[name][...])

    def _text(self, name: str) -> list[str]:
        with reading(self.path) as file:
            return list(file[name].asstr()[...])


@lru_cache(maxsize=4096)
def _located(
    path: Path, state: tuple[int, int, int], name: str, bfloat16: bool
) -> Activations:
    """Where a dataset lies in a file, looked up once."""
    with reading(path) as file:
        return activations(path, file[name], state, bfloat16=bfloat16)


def open_recording(path: str | Path) -> Recording:
    """A finished recording.

    Raises:
        InputError: no such file, not a recording, one of a newer version, an unfinished
            or a damaged one.
    """
    path = Path(path).absolute()
    state = file_state(path) if path.is_file() else (0, 0, 0)
    attributes, finished, _ = header(path)
    if not finished:
        with reading(path) as file:
            done = file["chunks/done"][...]
        raise InputError(
            f"{path}: recording stopped after {int(done.sum())} of {len(done)} chunks; "
            "go on with resume=True (--resume)"
        )
    with reading(path) as file:
        names = [*(f"facts/{name}" for name in FACT_FIELDS), "prompts"]
        names += ["tokens/ids", "tokens/offsets"]
        names += [f"positions/{name}" for name in json.loads(attributes["positions"])]
        if checksum(file[name][...] for name in names) != attributes["static_checksum"]:
            raise InputError(
                f"{path}: facts, prompts or tokens are damaged; record it anew"
            )
    return Recording(
        path,
        hooks=json.loads(attributes["hooks"]),
        positions=json.loads(attributes["positions"]),
        attributes=attributes,
        state=state,
    )


def header(path: Path) -> tuple[dict[str, Any], bool, list[str]]:
    """A recording's attributes, whether it is finished, and its prompts.

    Raises:
        InputError: no such file, not a recording, one of a newer version, a damaged one.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    sealed = seal.check(path, VERSION)
    with reading(path) as file:
        attributes = {name: _plain(value) for name, value in file.attrs.items()}
        if attributes.get("format") != FORMAT:
            raise InputError(f"{path} is not a recording: its format is not {FORMAT!r}")
        needed = {"version", "complete", "hooks", "positions", "batch_plan", "dtype"}
        if missing := sorted(needed - set(attributes)):
            raise InputError(f"{path} lacks the attribute {missing[0]!r}; record it anew")
        if not isinstance(attributes["version"], int):
            raise InputError(f"{path}: its version is {attributes['version']!r}, no number")
        if sealed is None and attributes["version"] == VERSION:
            raise InputError(f"{path} has lost its seal; restore it or record it anew")
        if attributes["version"] > VERSION:
            raise seal.newer(path, attributes["version"], VERSION)
        return attributes, bool(attributes["complete"]), list(file["prompts"].asstr()[...])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """The file, open for the block, with HDF5's errors as one line."""
    try:
        # A writer's lock is on its sidecar; HDF5's own would fail where locks can't be had.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(
            f"cannot read {path}: {why}; restore it or record it anew"
        ) from error
