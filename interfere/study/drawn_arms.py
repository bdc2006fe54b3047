"""Each arm's held-out facts and what may draw them, at the hook that the study declared."""

import numpy as np

from interfere.activations.recording import Recording, open_recording
from interfere.measures.interference_parts import Drawn, drawn
from interfere.measures.rows import Array
from interfere.study.factors import Runs, control_run
from interfere.study.new_recordings import new_recording
from interfere.study.preparation import Prepared


def drawn_arms(prepared: Prepared, runs: Runs) -> dict[str, Drawn]:
    """By name, the arms that learn new facts; none without a Known-only control a seed.

    The hook, position and rank are the study's, as in `run_measures`, whose size each is
    about.
    """
    settings = prepared.study.interference

    def rows(recording: Recording) -> Array:
        found: Array = recording[prepared.hook, settings.position].numpy()
        return found.astype(np.float64)

    beside_new = prepared.recording("others", prepared.split.others)
    others = rows(beside_new)
    found = {}
    for arm in prepared.study.arms:
        own = [(job.seed, path) for job, path in runs if job.arm.name == arm.name]
        controls = [control_run(runs, seed) for seed, _ in own]
        beside = [path for path in controls if path is not None]
        if not arm.trains_new or len(beside) != len(own):
            continue
        after, control = (
            [rows(open_recording(path / "held_out-after.h5")) for path in paths]
            for paths in ([path for _, path in own], beside)
        )
        new = [new_recording(prepared, arm.keys, seed) for seed, _ in own]
        found[arm.name] = drawn(
            after,
            control,
            [rows(recording) for recording in new],
            others,
            answers=(new[0].table["answer"], beside_new.table["answer"]),
            rank=settings.rank,
        )
    return found
