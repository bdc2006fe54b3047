"""Two sides of a claim of speed, run by turns."""

import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

Side = Callable[[], Any]


def alternate(
    sides: Mapping[str, Side], turns: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Seconds of each side at each turn, and what each last gave."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    given: dict[str, Any] = {}
    for _ in range(turns):
        for name, run in sides.items():
            begin = time.perf_counter()
            given[name] = run()
            seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(times) for name, times in seconds.items()}, given


def ratio(seconds: Mapping[str, np.ndarray], slow: str, fast: str) -> float:
    """Median of the turns' own ratios: a machine that grows slower does not move it."""
    return float(np.median(seconds[slow] / seconds[fast]))


def show(title: str, seconds: Mapping[str, np.ndarray], count: int, unit: str) -> None:
    """Print each side's median time, and how many units a second that is."""
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    table = Table(title=f"{title}; {machine}, torch {torch.__version__}")
    for column in ("side", "seconds", f"{unit} a second"):
        table.add_column(column)
    for name, times in seconds.items():
        median = float(np.median(times))
        table.add_row(name, f"{median:.3f}", f"{count / median:,.1f}")
    Console().print(table)
