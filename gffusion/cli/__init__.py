"""The `gffusion` command: one file per subcommand, parsing and printing only."""

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from gffusion._version import __version__

from .align import align
from .benchmark import benchmark
from .errors import ClickException, exit_with_usage_error
from .evaluate import evaluate
from .export import export
from .fuse import fuse
from .lists import join_list_words
from .masks import masks
from .models import models
from .pull import pull
from .push import push
from .sample import sample
from .train import CONTEXT, train

app = typer.Typer(
    name="gffusion",
    help="Infrared and visible image fusion.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for subcommand in (align, benchmark, evaluate, export, fuse, masks, models, pull, push, sample):
    app.command()(subcommand)
app.command(context_settings=CONTEXT)(train)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gffusion {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Infrared and visible image fusion."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, by default that of this process, and exit, with code 2 and one line on stderr on wrong words."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about damaged files; what matters is in our messages
    words = list(sys.argv[1:] if arguments is None else arguments)
    group = typer.main.get_command(app)
    command = getattr(group, "commands", {}).get(words[0]) if words else None
    if command is not None:
        words = join_list_words(words, command.params)
    try:
        sys.exit(group.main(words, prog_name="gffusion", standalone_mode=False))
    except ClickException as error:
        exit_with_usage_error(error)
