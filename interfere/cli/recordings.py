"""Commands on recordings: make, check, join, pack and compare them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from interfere.cli.options import Columns, Limit, ModelName, Relations, Source, read_facts
from interfere.cli.output import quiet, show


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
    scores: Annotated[
        bool, typer.Option(help="keep the canonical answer's score; without is faster")
    ] = True,
    device: Annotated[
        str | None, typer.Option(help="as torch names it; left out: a GPU if there is one")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with an unfinished file")
    ] = False,
) -> None:
    """Record a model's activations on facts; under torchrun each process its share."""
    quiet()
    import os

    import torch

    from interfere.activations.recorder import record as record_to
    from interfere.activations.recorder import record_part
    from interfere.models.load import load_model

    rank = int(os.environ.get("RANK") or 0)
    ranks = int(os.environ.get("WORLD_SIZE") or 1)
    if ranks > 1 and device is None and torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK') or rank}"
    loaded, asked = (
        load_model(model, device=device, dtype=dtype),
        read_facts(facts, relation, limit, column),
    )
    kept: dict[str, Any] = {
        "hooks": hooks or "blocks.*.hook_out",
        "positions": positions or ("subject_last", "prompt_last", "answer_first"),
        "scores": scores,
        "resume": resume,
    }
    if ranks > 1:
        typer.echo(record_part(loaded, asked, file, rank=rank, ranks=ranks, **kept))
        return
    found = record_to(loaded, asked, file, **kept)
    typer.echo(f"{found.path}: {len(found.prompts):,} facts, {len(found.hooks)} hooks")


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a recording")],
) -> None:
    """Show what a recording holds, finished or not."""
    quiet()
    from interfere.activations.contents import contents
    from interfere.report.tables import plain_table

    found = contents(file)
    show(plain_table(found.about, str(file)))
    show(plain_table(found.datasets, "datasets: a row a fact"))


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a recording")],
) -> None:
    """Check every checksum of a recording; exit status 1 if anything is damaged."""
    quiet()
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


def join(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="HDF5 to write")],
    parts: Annotated[list[Path], typer.Argument(metavar="PART…", help="each rank's file")],
) -> None:
    """Make one recording of the parts that several processes made."""
    quiet()
    from interfere.activations.parts import join as merge

    typer.echo(merge(out, parts).path)


def pack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a finished recording")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="HDF5 to write")],
) -> None:
    """Rewrite a finished recording compressed, for archiving."""
    quiet()
    from interfere.activations.packing import pack as compress

    packed = compress(file, out)
    share = packed.path.stat().st_size / file.stat().st_size
    typer.echo(f"{packed.path}: {share:.0%} of {file}")


def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE")],
    after: Annotated[Path, typer.Argument(metavar="AFTER")],
) -> None:
    """Compare two recordings of the same facts: drift, CKA, net loss."""
    quiet()
    from interfere.measures.comparison import compare as pair
    from interfere.report.tables import comparison_tables

    for table in comparison_tables(pair(before, after)):
        show(table)


def overlap(
    old: Annotated[Path, typer.Argument(metavar="OLD")],
    new: Annotated[Path, typer.Argument(metavar="NEW")],
    control: Annotated[Path, typer.Option(help="recording of foreign subjects")],
    position: Annotated[str, typer.Option(help="of the recordings")] = "subject_last",
    rank: Annotated[int, typer.Option(help="of the principal subspaces")] = 16,
) -> None:
    """Do new facts live where old ones do? By layer, before training."""
    quiet()
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
    show(plain_table(found, "overlap of new facts with old"))
