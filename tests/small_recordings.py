"""Recordings of few facts in several chunks and batches, and how far rows are apart."""

import numpy as np

SMALL = {"chunk_facts": 20, "batch_facts": 8}


def relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
