"""Reading a recording: one hook at one position, whole and by random rows.

Claims: all rows of 100,000 facts at no less than 90 % of the speed of `numpy.fromfile` of as many
bytes; 5,000 random rows in at most 3 times what a memory map takes: one of the recording's own
bytes, since pages of a file that was written at one go may lie in larger pieces in memory, which
are mapped several times faster. Sides run by turns; each ratio is the median of the turns' own
ratios.
"""

import tempfile
from pathlib import Path

import numpy as np
import typer
from sides import alternate, ratio, show

from interfere.activations.recorder import record
from interfere.facts.fact import Fact, FactSet, fact_id
from interfere.models.load import load_model

WHOLE, ROWS = 0.9, 3.0
HOOK, POSITION = "blocks.2.hook_out", "subject_last"


def main(facts: int = 100_000, rows: int = 5_000, turns: int = 31) -> None:
    """Print the times and their ratios; exit with 1 if a claim does not hold."""
    subjects = [f"Place {number}" for number in range(facts)]
    asked = FactSet(
        tuple(
            Fact(fact_id("numbered", "P17", name), name, "P17", "Chad") for name in subjects
        ),
        "numbered",
    )
    with tempfile.TemporaryDirectory() as folder:
        model = load_model("nano")
        file = Path(folder) / "a.h5"
        found = record(model, asked, file, hooks=HOOK, positions=[POSITION], scores=False)
        copy = Path(folder) / "a.bin"
        found[HOOK, POSITION].numpy().tofile(copy)
        shape = found[HOOK, POSITION].shape
        some = np.random.default_rng(0).choice(facts, rows, replace=False)

        times, _ = alternate(
            {
                "numpy.fromfile": lambda: np.fromfile(copy, np.float32),
                "recording": lambda: found[HOOK, POSITION].numpy(),
            },
            turns,
        )
        show(f"{copy.stat().st_size / 1e6:.0f} MB, whole", times, facts, "facts")
        whole = ratio(times, "numpy.fromfile", "recording")
        print(f"{whole:.2f} of the speed of numpy.fromfile (claim: at least {WHOLE})")

        offset = found[HOOK, POSITION].offset
        times, _ = alternate(
            {
                "numpy.memmap": lambda: np.memmap(file, np.float32, "r", offset, shape)[
                    some
                ],
                "recording": lambda: found[HOOK, POSITION][some],
            },
            turns,
        )
        show(f"{rows:,} random rows", times, rows, "facts")
        by_row = ratio(times, "recording", "numpy.memmap")
        print(f"{by_row:.2f} times what a memory map takes (claim: at most {ROWS:.0f})")
    raise typer.Exit(int(whole < WHOLE or by_row > ROWS))


if __name__ == "__main__":
    typer.run(main)
