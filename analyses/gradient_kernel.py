"""What a step on each new fact does to each old one: cosines of their loss gradients, by answer."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interfere.errors import InputError
from interfere.measures.gradient_blame import harm
from interfere.plotting import style
from interfere.plotting.heat_map import heat_map

TITLES = {"sgd": "SGD", "adamw": "AdamW"}
NAMED = 0.045
"""Share of an axis that an answer needs for its name to be legible."""
LONGEST = 14
"""Letters of a name: more would leave no room for the map."""


def tabulate(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs with their places in the picture: by answer, the commonest first, then by harm.

    Harm is the predicted rise of the others' losses, averaged over them; places, cosines
    and harm are each optimizer's own.
    """
    if pairs.empty:
        raise InputError("gradient_kernel.parquet holds no pair of an old and a new fact")
    return pd.concat(
        [_placed(own) for _, own in pairs.groupby("optimizer", sort=False)],
        ignore_index=True,
    )


def _placed(pairs: pd.DataFrame) -> pd.DataFrame:
    for side, other in (("old", "new"), ("new", "old")):
        table = pairs.set_index([other, side])["product"].unstack()  # noqa: PD010
        answers = pairs.drop_duplicates(other).set_index(other)[f"{other}_answer"]
        found = harm(-table.to_numpy(), answers[table.index]) / len(table)
        facts = pairs.drop_duplicates(side).set_index(side)[[f"{side}_answer"]]
        facts = facts.join(found.set_index(table.columns).add_prefix(f"{side}_"))
        size = facts[f"{side}_answer"].map(facts[f"{side}_answer"].value_counts())
        order = facts.assign(size=-size, harm=-facts[f"{side}_harm"])
        order = order.sort_values(["size", f"{side}_answer", "harm"])
        facts[f"{side}_place"] = pd.Series(range(len(order)), order.index)
        pairs = pairs.join(facts.drop(columns=f"{side}_answer"), on=side)
    return pairs.sort_values(["old_place", "new_place"])


def draw(numbers: pd.DataFrame) -> Figure:
    """A map an optimizer; above it what each new fact does, beside it what each old suffers.

    Harm: mean predicted rise of the loss (nats) for a learning rate of 1, with its 95 %
    interval; beside the map its axis is logarithmic beyond the median fact's.
    """
    kinds = [kind for kind in TITLES if kind in set(numbers["optimizer"])]
    figure, axes = plt.subplots(
        2,
        2 * len(kinds),
        figsize=(5.6 * len(kinds), 5.2),
        squeeze=False,
        layout="constrained",
        width_ratios=[4, 1] * len(kinds),
        height_ratios=[1, 4],
    )
    for i, kind in enumerate(kinds):
        own = numbers[numbers["optimizer"] == kind]
        (above, corner), (middle, beside) = axes[:, 2 * i : 2 * i + 2]
        above.sharex(middle)
        beside.sharey(middle)
        corner.axis("off")
        _map(figure, middle, own)
        _harm(above, own, "new")
        _harm(beside, own, "old")
        above.set_title(TITLES[kind])
    return figure


def _map(figure: Figure, axis: Axes, own: pd.DataFrame) -> None:
    places = own.set_index(["old_place", "new_place"])
    cosines = places["cosine"].unstack().to_numpy()  # noqa: PD010
    most = np.nanquantile(np.abs(cosines), 0.99)
    # Light to dark throughout, so that the sign is legible in grey.
    image = heat_map(axis, cosines, (-most, most), aspect="auto")
    axis.set(xlabel="new facts, by answer", ylabel="old facts, by answer")
    for side, ticks in (("new", axis.set_xticks), ("old", axis.set_yticks)):
        places, names = _names(own, side)
        ticks(places, names, rotation=90 if side == "new" else 0, fontsize=7)
    figure.colorbar(
        image,
        ax=axis,
        location="bottom",
        label="cosine of loss gradients",
        extend="both",
        ticks=MaxNLocator(5),
    )


def _harm(axis: Axes, own: pd.DataFrame, side: str) -> None:
    facts = own.drop_duplicates(side).sort_values(f"{side}_place")
    place = facts[f"{side}_place"]
    value, low, high = (facts[f"{side}_{name}"] for name in ("harm", "low", "high"))
    if side == "new":
        axis.vlines(place, low, high, color=style.COLOURS[5], linewidth=1.2)
        axis.plot(place, value, "k.", markersize=2.5)
        axis.axhline(0, color="0.4", linewidth=0.8)
        axis.set_ylabel("harm")
        axis.tick_params(labelbottom=False)
        axis.yaxis.set_major_locator(MaxNLocator(3))
        axis.ticklabel_format(axis="y", scilimits=(-2, 2), useMathText=True)
        return
    axis.hlines(place, low, high, color=style.COLOURS[5], linewidth=1.2)
    axis.plot(value, place, "k.", markersize=2.5)
    axis.axvline(0, color="0.4", linewidth=0.8)
    # A few old facts suffer a hundred times what most do: neither must flatten the other.
    linear = float(np.median(np.abs(value)))
    if linear > 0:
        axis.set_xscale("symlog", linthresh=linear)
        ends = np.array([value.min(), value.max()])
        far = ends[np.abs(ends) > linear]
        decades = np.sign(far) * 10 ** np.floor(np.log10(np.abs(far)))
        axis.set_xticks(np.unique([0, *decades]), minor=False)
    axis.set_title("harm", fontsize="medium")
    axis.tick_params(labelleft=False)


def _names(own: pd.DataFrame, side: str) -> tuple[list[float], list[str]]:
    """Answers that fill enough of the axis, at the middle of their facts."""
    facts = own.drop_duplicates(side)
    groups = facts.groupby(f"{side}_answer")[f"{side}_place"].agg(["mean", "size"])
    wide = groups[groups["size"] >= NAMED * len(facts)]
    short = [
        name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in wide.index
    ]
    return wide["mean"].tolist(), short


def main(study: Path, out: Path) -> None:
    """Draw from a study's results folder into `out`."""
    file = study / "gradient_kernel.parquet"
    if not file.is_file():
        raise InputError(f"{file} is not there: `interfere measure {study.name}` makes it")
    numbers = tabulate(pd.read_parquet(file))
    style.save(draw(numbers), numbers, out / Path(__file__).stem)


if __name__ == "__main__":
    typer.run(main)
