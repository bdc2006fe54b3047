"""Outcomes of held-out facts in which it is known what makes them be forgotten."""

import numpy as np
import pandas as pd

SIGNS = {"margin": -1, "acts": 1, "noise": 1, "goes": 1, "bends": 1}


def planted(
    seed: int,
    *,
    answers: int = 40,
    each: int = 10,
    seeds: int = 2,
    effect: float = 0.8,
    drift: float = 0.8,
    bend: float = 0.0,
) -> pd.DataFrame:
    """A row a fact and seed; half of each predictor and of the damage is the answer's.

    Log-probabilities crowd below 0 as those of known facts do; all damage multiplies
    them, so raw changes go with the before-score. `acts` does damage in the arm alone;
    `noise` is nothing; `goes` and `margin` are noisy readings of what the model knew and
    do nothing of their own; `drift` is what training does to all facts, and `bend` (nats)
    what it does beside to those known least, by a cubic that `bends` follows too.
    """
    rng = np.random.default_rng(seed)
    facts = answers * each
    answer = np.repeat(np.arange(answers), each)

    def mixed() -> np.ndarray:
        return 0.7 * (rng.normal(size=facts) + rng.normal(size=answers)[answer])

    knows, acts, noise = mixed(), mixed(), mixed()
    goes = -knows + 0.5 * rng.normal(size=facts)
    margin = knows + 0.7 * rng.normal(size=facts)
    before = -np.exp(-1.5 - knows)
    bent = (1 - knows.argsort().argsort() / facts) ** 3
    bends = bent + 0.2 * np.random.default_rng([seed, 1]).normal(size=facts)
    tables = []
    for number in range(seeds):
        damage = drift + effect * acts + 0.7 * mixed()
        after = before * np.exp(damage) - bend * bent
        control = before * np.exp(0.3 * rng.normal(size=facts))
        tables.append(
            pd.DataFrame(
                {
                    "fact": [f"f{i}" for i in range(facts)],
                    "seed": number,
                    "answer": [f"answer {i}" for i in answer],
                    "before": before,
                    "after": after,
                    "control": control,
                    "right_before": before > -1,
                    "right_after": after > -1,
                    "margin": margin,
                    "acts": acts,
                    "noise": noise,
                    "goes": goes,
                    "bends": bends,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
