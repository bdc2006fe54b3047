"""Commands on the cache."""

from typing import Annotated

import typer

from interfere.cli.output import show

app = typer.Typer(help="What the cache holds, how large it is, and cleaning it.")


@app.callback(invoke_without_command=True)
def sizes_of_parts(context: typer.Context) -> None:
    """List the cache's folders and their sizes."""
    if context.invoked_subcommand is None:
        from interfere.cache import home, sizes
        from interfere.report.tables import plain_table

        show(plain_table(sizes(), str(home())))


@app.command()
def clean(
    part: Annotated[
        str | None,
        typer.Argument(help="one of the folders listed; all but downloads if left out"),
    ] = None,
) -> None:
    """Delete a part of the cache."""
    from interfere.cache import clean as delete

    typer.echo(f"freed {delete(part) / 1e6:,.0f} MB")
