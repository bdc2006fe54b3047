"""Two sides of a claim of speed, run by turns."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

Side = Callable[[], Any]


def alternate(
    sides: Mapping[str, Side], turns: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Median seconds of each side over the turns, and what each last gave."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    given: dict[str, Any] = {}
    for _ in range(turns):
        for name, run in sides.items():
            begin = time.perf_counter()
            given[name] = run()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in seconds.items()}, given


def show(title: str, medians: Mapping[str, float], count: int, unit: str) -> None:
    """Print each side's median, and how many units a second that is."""
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    table = Table(title=f"{title}; {machine}, torch {torch.__version__}")
    for column in ("side", "seconds", f"{unit} a second"):
        table.add_column(column)
    for name, median in medians.items():
        table.add_row(name, f"{median:.3f}", f"{count / median:,.1f}")
    Console().print(table)
