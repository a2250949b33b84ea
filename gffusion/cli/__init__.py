"""The `gffusion` command: one file a subcommand, parsing and printing only."""

from typing import Annotated

import typer

from gffusion._version import __version__

from .evaluate import evaluate
from .fuse import fuse
from .masks import masks
from .models import models
from .pull import pull
from .push import push
from .sample import sample
from .train import CONTEXT, train

app = typer.Typer(
    name="gffusion",
    help="Infrared and visible image fusion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # an error is one line, not a box
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(evaluate)
app.command()(fuse)
app.command()(masks)
app.command()(models)
app.command()(pull)
app.command()(push)
app.command()(sample)
app.command(context_settings=CONTEXT)(train)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gffusion {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Infrared and visible image fusion."""


def main() -> None:
    """Run the command."""
    app()
