"""What a comparison counts and shows."""

from io import StringIO
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from interfere.report.comparison import comparison_table
from interfere.study.frontier import forward_passes
from interfere.study.run import _trained
from interfere.study.study import Arm, Study
from interfere.training.cost import Cost


def test_passes_are_counted_in_forwards():
    costs = {"rows": 10, "measured_rows": 4, "teacher_rows": 5, "asked_rows": 7}
    table = pd.DataFrame({f"cost_{name}": [value] for name, value in costs.items()})
    assert forward_passes(table).tolist() == [3 * (10 + 4) + 5 + 7]


def test_losses_are_shown_as_they_are_or_as_not_reached():
    rows = pd.DataFrame(
        {
            "arm": ["SFT", "slow"],
            "chosen": ["", "strength=3"],
            "area": [0.9, 0.5],
            "plasticity": [1.0, 0.6],
            "net_loss_0.9": [0.125, np.nan],
            "net_loss_0.9_low": [0.1, np.nan],
            "net_loss_0.9_high": [0.15, np.nan],
            "net_loss_0.9_beyond": [0.7, np.nan],
            "net_loss_0.9_reached": [True, False],
        }
    )
    shown = StringIO()
    Console(width=200, file=shown).print(comparison_table(rows))
    lines = shown.getvalue().splitlines()
    sft, slow = (next(line for line in lines if name in line) for name in ("SFT ", "slow"))
    assert ".125 [" in sft
    assert ".7" not in sft
    assert "not reached" in slow


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("mitigation", "settings"),
    [
        ("targeted-distillation", {"spend": "uniform"}),
        ("freezing", {"trains": "attention", "random_control": True}),
    ],
)
def test_what_a_mitigation_draws_follows_the_seed_of_the_run(
    monkeypatch, mitigation, settings
):
    given = {}
    monkeypatch.setattr(
        "interfere.study.run.train", lambda *_, **named: given.update(named)
    )
    arm = Arm(name="drawn", mitigation=mitigation, settings=settings)
    job = SimpleNamespace(
        study=Study(name="small", arms=(arm,)), arm=arm, seed=7, split=None, steps=1
    )
    _trained(job, None, [], Cost())
    assert given["mitigation"].seed == given["seed"] == 7
