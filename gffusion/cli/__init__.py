"""The `gffusion` command: one file per subcommand, parsing and printing only."""

import atexit
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from gffusion._version import __version__

from .align import align
from .benchmark import benchmark
from .demo import demo
from .distributed import refuse_processes
from .doctor import doctor
from .errors import ClickException, exit_with_usage_error, interrupted_by_signals, received_code
from .evaluate import evaluate
from .examples import format_examples
from .export import export
from .fuse import fuse
from .masks import masks
from .match import match
from .messages import printed_warnings, use_options
from .models import models
from .option_values import check_empty, check_lists, join_list_words, read_paths
from .printing import checked_output, drop_unwritten, expect_json, prepare_output
from .pull import pull
from .push import push
from .sample import sample
from .show import show
from .train import CONTEXT, train

WELCOME = """\
gffusion fuses visible and infrared images. To try it, without images of your own:

  gffusion sample demo
  gffusion fuse demo/visible/rendered_0000.png demo/infrared/rendered_0000.png -o demo/fused.png

Your own images, or two folders of them (add --align auto if the cameras are not registered):

  gffusion fuse visible.png infrared.png -o fused.png

gffusion --help lists all commands, and gffusion COMMAND --help its options."""

EXIT_CODES = """\
Exit codes of all commands: 0 everything was done; 1 a part failed, and the rest was done; 2 nothing could be done, or the command
was wrong; 130 interrupted by Ctrl-C, 143 by SIGTERM. Errors and notes are on stderr."""

SHORT_HELP: dict[Callable[..., None], str] = {
    align: "Estimate the position of two cameras to each other",
    benchmark: "Measure the time of each step on this machine",
    demo: "Try models in the browser",
    doctor: "Examine the installation and this machine",
    evaluate: "Compare fusion methods by metrics",
    export: "Write a model for ONNX Runtime or torch.export",
    fuse: "Fuse two images, folders or videos",
    masks: "Make label maps from boxes",
    match: "Match images by the times in names or EXIF data",
    models: "List the models",
    pull: "Save a model for machines without network",
    push: "Publish a model on the Hugging Face Hub",
    sample: "Render pairs to try gffusion with",
    show: "Draw tokens, gates, segmentation or training curves",
}


class _Command(TyperCommand):
    """Command whose help shows arguments by their names alone: releases 0.29 of typer add their types in Python."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]


app = typer.Typer(
    name="gffusion",
    help="Infrared and visible image fusion.",
    epilog=EXIT_CODES,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for subcommand, short_help in SHORT_HELP.items():
    app.command(cls=_Command, short_help=short_help, epilog=format_examples(subcommand.__name__))(subcommand)
app.command(context_settings=CONTEXT, short_help="Train or fine-tune a model")(train)


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
        typer.echo(WELCOME)


def _check_current_folder() -> None:
    """Raise FileNotFoundError if the current folder was deleted, in which libraries of torch end the process."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError("the current folder was deleted: change to another folder") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, by default that of this process, and exit, with code 2 and one line on stderr on a usage error."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about damaged files; what matters is in our messages
    prepare_output()
    atexit.unregister(drop_unwritten)  # of an earlier call
    atexit.register(drop_unwritten)
    words = list(sys.argv[1:] if arguments is None else arguments)
    group = typer.main.get_command(app)
    command = getattr(group, "commands", {}).get(words[0]) if words else None
    parameters = [] if command is None else command.params
    use_options(parameters)
    expect_json("--json" in words and any("--json" in parameter.opts for parameter in parameters))
    if command is not None:
        try:
            if words[0] not in ("doctor", "models") and not {"--help", "-h"} & set(words):
                _check_current_folder()
                refuse_processes(words[0])
            check_empty(words, parameters)
            words = read_paths(words, parameters)
            check_lists(words, parameters)
        except (FileNotFoundError, ValueError) as error:
            exit_with_usage_error(error)
        words = join_list_words(words, parameters)
    try:
        with interrupted_by_signals(), printed_warnings(), checked_output():
            sys.exit(group.main(words, prog_name="gffusion", standalone_mode=False))
    except ClickException as error:
        exit_with_usage_error(error)
    except KeyboardInterrupt:  # after the work, while the handlers of signals are removed
        sys.exit(received_code())
