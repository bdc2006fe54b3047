"""How much of a study goes at once."""

import os

import torch

from interfere.study.study import Study


def worker_count(study: Study, jobs: int) -> int:
    """How many runs go at once: the study's `workers`, or one a core; one on a GPU."""
    if torch.cuda.is_available() and study.device != "cpu":
        return min(study.workers or 1, jobs)
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(study.workers or cores, jobs))


def threads_a_run(study: Study) -> int:
    """Of torch, where as many runs go at once as the study's arms and seeds allow."""
    workers = worker_count(study, len(study.arms) * len(study.seeds))
    return max(1, torch.get_num_threads() // workers)
