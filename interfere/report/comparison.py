"""The table of a study's mitigations, for the terminal."""

import numpy as np
import pandas as pd
from rich.table import Table

from interfere.report.tables import new_table, number, with_interval


def comparison_table(table: pd.DataFrame) -> Table:
    """Arms by the area under their frontier, with what they were set to and what they cost."""
    view = new_table(
        "mitigations: old facts kept at equal learning (95 % interval over answers)",
        [
            "arm",
            "chosen",
            "area",
            "more than SFT's",
            "loss at plasticity .9",
            "loss at the end",
            "plasticity",
            "forwards",
            "seconds",
        ],
    )
    for row in table.sort_values("area", ascending=False).to_dict("records"):
        reached = row.get("net_loss_0.9_reached") is not False
        view.add_row(
            str(row["arm"]),
            str(row["chosen"]),
            number(row["area"]),
            with_interval(row, "area_gain"),
            with_interval(row, "net_loss_0.9") if reached else "not reached",
            with_interval(row, "net_loss_end"),
            number(row["plasticity"]),
            *(
                "–" if np.isnan(row.get(name, np.nan)) else f"{row[name]:.2f}×"
                for name in ("forwards", "relative_seconds")
            ),
        )
    return view
