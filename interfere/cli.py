"""The command line: commands only; what they do lives in the rooms."""

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from interfere.errors import InputError

app = typer.Typer(
    help="What fine-tuning on new facts does to old ones: record, measure, mitigate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="nano, smollm2-135m, a hub id or a folder")
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="FACTS", help="geonames, a folder of EntityQuestions, or a file"
    ),
]
Relations = Annotated[
    list[str] | None, typer.Option("--relation", help="a relation to ask; may be repeated")
]
Limit = Annotated[int | None, typer.Option(help="facts a relation, most popular first")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="field=column of a facts file; repeatable"),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="a.b=value in place of the study's; repeatable"),
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="a preset or a .yaml file")]


INTERRUPTED = "interrupted; finished work is kept"


def run() -> None:
    """Entry point: bad input is one line and exit status 2, an interruption 130."""
    try:
        app()
    except InputError as error:
        _stop(str(error), 2)
    except KeyboardInterrupt:
        _stop(INTERRUPTED, 130)
    except SystemExit as stop:
        if stop.code == 130:  # what typer makes of an interruption
            _stop(INTERRUPTED, 130)
        raise
    except OSError as error:
        if error.errno is None:
            raise
        _stop(f"{error.filename or 'disk'}: {error.strerror}", 2)


def _stop(message: str, status: int) -> None:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {_plain(message)}")
    sys.exit(status)


def _plain(message: str) -> str:
    from rich.markup import escape

    return escape(" ".join(message.split()))


def _say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(f"[dim]·[/] {_plain(text)}")


def _show(table: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _quiet() -> None:
    """Libraries' notices are not for our users; their errors still are."""
    import logging
    import os
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    # Ours say what a number can't be: one line each, once.
    warnings.filterwarnings("once", category=UserWarning, module="interfere")
    warnings.showwarning = lambda message, *_, **__: _say(f"note: {message}")
    ours = logging.getLogger("interfere")
    if not ours.handlers:
        handler = logging.Handler()
        handler.emit = lambda record: _say(record.getMessage())  # type: ignore[method-assign]
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)


def _pairs(values: list[str] | None, option: str) -> dict[str, str]:
    found = {}
    for value in values or []:
        key, separator, text = value.partition("=")
        if not separator:
            raise InputError(f"{option} {value!r}: write it as key=value")
        found[key] = text
    return found


def _settings(values: list[str] | None) -> dict[str, Any]:
    import yaml

    from interfere.study.study import read_value

    found = {}
    for key, text in _pairs(values, "--set").items():
        try:
            found[key] = read_value(text)
        except yaml.YAMLError:
            raise InputError(f"--set {key}={text}: {text!r} is not a value") from None
    return found


def _facts(
    source: str, relations: list[str] | None, limit: int | None, columns: list[str] | None
) -> Any:
    from interfere.facts.load import load_facts

    named = _pairs(columns, "--column") or None
    return load_facts(source, relations=relations, limit=limit, columns=named)


@app.command()
def reproduce(
    study: StudyName,
    changes: Changes = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="print plan, memory, disk and cost; load nothing"),
    ] = False,
) -> None:
    """Run a study and make its tables and figures; finished runs are never run again."""
    _quiet()
    from interfere.study.study import load_study

    chosen = load_study(study, changes)
    if dry_run:
        from interfere.report.estimate import estimate_table
        from interfere.study.estimate import estimate

        _show(estimate_table(estimate(chosen)))
        return
    from interfere.study.runner import reproduce as run_study

    folder = run_study(chosen, _say)
    _report(folder)
    _draw(chosen.name)


@app.command()
def figures(study: Annotated[str, typer.Argument(metavar="STUDY|all")]) -> None:
    """Draw every figure again from a study's results."""
    _quiet()
    from interfere.study.results import read_results, studies_with_results

    for name in studies_with_results() if study == "all" else [study]:
        read_results(name)
        _draw(name)


def _draw(study: str) -> None:
    from interfere.report.figures import draw_all

    for path in draw_all(study, _say):
        typer.echo(path)


def _report(folder: Path) -> None:
    from interfere.report.tables import contrast_table, headline_table
    from interfere.study.headline import write_headline

    headline, contrasts = write_headline(folder)
    _show(headline_table(headline, folder.name))
    if len(contrasts):
        _show(contrast_table(contrasts))
    typer.echo(f"results: {folder}")


@app.command()
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
    _quiet()
    from interfere.knowledge.slick import categorise as sort
    from interfere.models.load import load_model
    from interfere.report.tables import check_ending, counts_table, write_table

    if method not in {"exact", "sampling"}:
        raise InputError(f"--method {method}: there are exact and sampling")
    if out is not None:
        check_ending(out)
    asked = _facts(facts, relation, limit, column)
    knowledge = sort(
        load_model(model),
        asked,
        method=cast(Any, method),
        prompts=prompts,
        shots=shots,
        seed=seed,  # type: ignore[arg-type]
    )
    _show(counts_table(knowledge.counts()))
    if out is not None:
        write_table(knowledge.table, out)
        typer.echo(out)


@app.command()
def record(
    model: ModelName,
    facts: Source,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="HDF5 to write")],
    hooks: Annotated[
        list[str] | None, typer.Option("--hooks", help="name or pattern; repeatable")
    ] = None,
    positions: Annotated[
        list[str] | None,
        typer.Option(
            "--positions", help="subject_last, prompt_last, answer_first; repeatable"
        ),
    ] = None,
    relation: Relations = None,
    limit: Limit = None,
    column: Columns = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with an unfinished file")
    ] = False,
) -> None:
    """Record a model's activations on facts; under torchrun each process its share."""
    _quiet()
    import os

    from interfere.activations.recorder import record as record_to
    from interfere.activations.recorder import record_part
    from interfere.models.load import load_model

    loaded, asked = load_model(model), _facts(facts, relation, limit, column)
    kept: dict[str, Any] = {
        "hooks": hooks or "blocks.*.hook_out",
        "positions": positions or ("subject_last", "prompt_last", "answer_first"),
        "resume": resume,
    }
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        typer.echo(record_part(loaded, asked, file, rank=rank, ranks=ranks, **kept))
        return
    found = record_to(loaded, asked, file, **kept)
    typer.echo(f"{found.path}: {len(found.prompts):,} facts, {len(found.hooks)} hooks")


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a recording")],
) -> None:
    """Show what a recording holds, finished or not."""
    _quiet()
    from interfere.activations.contents import contents
    from interfere.report.tables import plain_table

    found = contents(file)
    _show(plain_table(found.about, str(file)))
    _show(plain_table(found.datasets, "datasets: a row a fact"))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a recording")],
) -> None:
    """Check every checksum of a recording; exit status 1 if anything is damaged."""
    _quiet()
    from interfere.activations.verifying import verify as check

    found = check(file)
    for chunk in found.damaged:
        typer.echo(f"{file}: chunk {chunk} of {found.chunks} is damaged")
    if found.problem:
        typer.echo(found.problem)
    if not found.whole:
        raise typer.Exit(1)
    left = len(found.unfinished)
    state = f"{found.chunks - left} of {found.chunks} chunks" if left else "all chunks"
    typer.echo(f"{file}: {state} whole{'; the rest is not recorded yet' if left else ''}")


@app.command()
def join(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="HDF5 to write")],
    parts: Annotated[list[Path], typer.Argument(metavar="PART…", help="each rank's file")],
) -> None:
    """Make one recording of the parts that several processes made."""
    _quiet()
    from interfere.activations.parts import join as merge

    typer.echo(merge(out, parts).path)


@app.command()
def pack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a finished recording")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="HDF5 to write")],
) -> None:
    """Rewrite a finished recording compressed, for archiving."""
    _quiet()
    from interfere.activations.packing import pack as compress

    packed = compress(file, out)
    share = packed.path.stat().st_size / file.stat().st_size
    typer.echo(f"{packed.path}: {share:.0%} of {file}")


@app.command()
def train(
    model: ModelName,
    facts: Source,
    out: Annotated[Path, typer.Option(help="folder to save in, Hugging Face format")],
    mitigation: Annotated[str | None, typer.Option(help="a mitigation's name")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value of the mitigation; repeatable"),
    ] = None,
    epochs: Annotated[float, typer.Option(help="passes over the facts")] = 24,
    learning_rate: Annotated[float, typer.Option(help="peak, AdamW")] = 1e-4,
    batch_size: Annotated[int, typer.Option(help="facts a step")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="of the data order")] = 0,
    relation: Relations = None,
    limit: Limit = None,
    column: Columns = None,
) -> None:
    """Fine-tune a model on facts and save it."""
    _quiet()
    from interfere.knowledge.splits import Split
    from interfere.models.load import load_model
    from interfere.training.names import named_mitigation
    from interfere.training.train import train as tune

    chosen = named_mitigation(mitigation, _settings(settings))
    tune(
        load_model(model),
        Split.for_training(_facts(facts, relation, limit, column)),
        mitigation=chosen,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        out=out,
    )
    typer.echo(out)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE")],
    after: Annotated[Path, typer.Argument(metavar="AFTER")],
) -> None:
    """Compare two recordings of the same facts: drift, CKA, net loss."""
    _quiet()
    from interfere.measures.comparison import compare as pair
    from interfere.report.tables import comparison_tables

    for table in comparison_tables(pair(before, after)):
        _show(table)


@app.command()
def overlap(
    old: Annotated[Path, typer.Argument(metavar="OLD")],
    new: Annotated[Path, typer.Argument(metavar="NEW")],
    control: Annotated[Path, typer.Option(help="recording of foreign subjects")],
    position: Annotated[str, typer.Option(help="of the recordings")] = "subject_last",
    rank: Annotated[int, typer.Option(help="of the principal subspaces")] = 16,
) -> None:
    """Do new facts live where old ones do? By layer, before training."""
    _quiet()
    from interfere.activations.recording import open_recording
    from interfere.measures.subspace_overlap import overlap as measure
    from interfere.report.tables import plain_table

    found = measure(
        old=open_recording(old),
        new=open_recording(new),
        control=open_recording(control),
        position=position,
        rank=rank,
    )
    _show(plain_table(found, "overlap of new facts with old"))


@app.command()
def pretrain(
    model: Annotated[str, typer.Argument(metavar="nano")],
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("nano"),
    seed: Annotated[int, typer.Option(min=0, help="of world, text and weights")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="passes over the world")] = 25,
) -> None:
    """Make the shipped model anew, and measure it against its ground truth."""
    _quiet()
    if model != "nano":
        raise InputError(f"only nano can be pretrained here, not {model!r}")
    from interfere.knowledge.nano_card import measure_nano
    from interfere.models.nano_pretraining import Recipe, pretrain_nano
    from interfere.report.tables import plain_table

    pretrain_nano(out, Recipe(seed=seed, epochs=epochs))
    _show(plain_table(measure_nano(out), "nano against its ground truth"))
    typer.echo(out)


cache_app = typer.Typer(help="What the cache holds, how large it is, and cleaning it.")
app.add_typer(cache_app, name="cache")


@cache_app.callback(invoke_without_command=True)
def cache_main(context: typer.Context) -> None:
    """List the cache's folders and their sizes."""
    if context.invoked_subcommand is None:
        from interfere.cache import home, sizes
        from interfere.report.tables import plain_table

        _show(plain_table(sizes(), str(home())))


@cache_app.command()
def clean(
    part: Annotated[
        str | None,
        typer.Argument(help="one of the folders listed; all but downloads if left out"),
    ] = None,
) -> None:
    """Delete a part of the cache."""
    from interfere.cache import clean as delete

    typer.echo(f"freed {delete(part) / 1e6:,.0f} MB")


if __name__ == "__main__":
    run()
