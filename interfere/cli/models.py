"""Commands on models: what one knows, fine-tuning one, making the shipped one."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from interfere.cli.options import (
    Columns,
    Limit,
    ModelName,
    OldFacts,
    Relations,
    Source,
    read_facts,
    read_settings,
)
from interfere.cli.output import quiet, show
from interfere.errors import InputError


def categorise(
    model: ModelName,
    facts: Source,
    relation: Relations = None,
    limit: Limit = None,
    column: Columns = None,
    method: Annotated[str, typer.Option(help="exact or sampling")] = "exact",
    prompts: Annotated[int, typer.Option(help="few-shot prompts a fact")] = 10,
    shots: Annotated[int, typer.Option(help="exemplars a prompt")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="of the exemplars")] = 0,
    out: Annotated[Path | None, typer.Option(help="table: .csv or .parquet")] = None,
) -> None:
    """Sort facts into SLiCK's categories: what does the model know?"""
    quiet()
    from interfere.knowledge.slick import categorise as sort
    from interfere.models.load import load_model
    from interfere.report.tables import check_ending, counts_table, write_table

    if method not in {"exact", "sampling"}:
        raise InputError(f"--method {method}: there are exact and sampling")
    if out is not None:
        check_ending(out)
    asked = read_facts(facts, relation, limit, column)
    knowledge = sort(
        load_model(model),
        asked,
        method=cast(Any, method),
        prompts=prompts,
        shots=shots,
        seed=seed,  # type: ignore[arg-type]
    )
    show(counts_table(knowledge.counts()))
    if out is not None:
        write_table(knowledge.table, out)
        typer.echo(out)


def train(
    model: ModelName,
    facts: Source,
    out: Annotated[Path, typer.Option(help="folder to save in, Hugging Face format")],
    mitigation: Annotated[str | None, typer.Option(help="a mitigation's name")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value of the mitigation; repeatable"),
    ] = None,
    old: OldFacts = None,
    epochs: Annotated[float, typer.Option(help="passes over the facts")] = 24,
    learning_rate: Annotated[float, typer.Option(help="peak, AdamW")] = 1e-4,
    batch_size: Annotated[int, typer.Option(help="facts a step")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="of order and draws")] = 0,
    relation: Relations = None,
    limit: Limit = None,
    column: Columns = None,
) -> None:
    """Fine-tune a model on facts and save it."""
    quiet()
    from interfere.knowledge.splits import Split
    from interfere.models.load import load_model
    from interfere.training.names import named_mitigation
    from interfere.training.train import train as tune

    chosen = named_mitigation(mitigation, read_settings(settings), seed=seed)
    split = Split.for_training(read_facts(facts, relation, limit, column))
    if old is not None:
        known = read_facts(old, relation, limit, column)
        split = split.with_others(known)
    tune(
        load_model(model),
        split,
        mitigation=chosen,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        out=out,
    )
    typer.echo(out)


def repair(
    before: Annotated[str, typer.Argument(help="the model that training began from")],
    after: Annotated[str, typer.Argument(help="the tuned model")],
    out: Annotated[Path, typer.Option(help="folder to save in, Hugging Face format")],
    name: Annotated[str, typer.Option("--repair", help="a repair's name")] = "wise-ft",
    share: Annotated[
        float, typer.Option(help="of the way to the tuned model, which is 1")
    ] = 0.5,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value of the repair; repeatable"),
    ] = None,
    old: OldFacts = None,
    relation: Relations = None,
    limit: Limit = None,
    column: Columns = None,
) -> None:
    """Mend a tuned model without training: by default, interpolate its weights."""
    quiet()
    from interfere.facts.fact import FactSet
    from interfere.interventions.common_shift_removal import CommonShiftRemoval
    from interfere.interventions.repairs import named_repair
    from interfere.models.load import load_model
    from interfere.training.train import free_folder

    known: FactSet | None = None
    if old is not None:
        known = read_facts(old, relation, limit, column)
    mend = named_repair(name, read_settings(settings), share, known)
    if isinstance(mend, CommonShiftRemoval):
        raise InputError(
            f"{name} is a hook on the model's activations, which no folder can hold: use "
            "interfere.interventions.common_shift_removal in Python"
        )
    free_folder(out)
    mend.repair(load_model(before), load_model(after)).save(out)
    typer.echo(out)


def pretrain(
    model: Annotated[str, typer.Argument(metavar="nano")],
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("nano"),
    seed: Annotated[int, typer.Option(min=0, help="of world, text and weights")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="passes over the world")] = 25,
) -> None:
    """Make the shipped model anew, and measure it against its ground truth."""
    quiet()
    if model != "nano":
        raise InputError(f"only nano can be pretrained here, not {model!r}")
    from interfere.knowledge.nano_card import measure_nano
    from interfere.models.nano_pretraining import Recipe, pretrain_nano
    from interfere.report.tables import plain_table

    pretrain_nano(out, Recipe(seed=seed, epochs=epochs))
    show(plain_table(measure_nano(out), "nano against its ground truth"))
    typer.echo(out)
