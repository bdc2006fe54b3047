"""The command line: commands only; what they do lives in the rooms."""

import typer

from interfere.cli import cache, models, recordings, studies
from interfere.cli.output import stop
from interfere.errors import InputError

app = typer.Typer(
    help="What fine-tuning on new facts does to old ones: record, measure, mitigate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

COMMANDS = (
    studies.reproduce,
    studies.measure,
    studies.tables,
    studies.figures,
    models.categorise,
    models.train,
    models.repair,
    models.pretrain,
    recordings.record,
    recordings.inspect,
    recordings.verify,
    recordings.join,
    recordings.pack,
    recordings.compare,
    recordings.overlap,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(cache.app, name="cache")

INTERRUPTED = "interrupted; finished work is kept"


def run() -> None:
    """Entry point: bad input is one line and exit status 2, an interruption 130."""
    try:
        app()
    except InputError as error:
        stop(str(error), 2)
    except KeyboardInterrupt:
        stop(INTERRUPTED, 130)
    except SystemExit as leaving:
        if leaving.code == 130:  # what typer makes of an interruption
            stop(INTERRUPTED, 130)
        raise
    except OSError as error:
        if error.errno is None:
            raise
        stop(f"{error.filename or 'disk'}: {error.strerror}", 2)
