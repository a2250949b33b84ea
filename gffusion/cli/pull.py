"""`gffusion pull`: save a model to one folder, for machines without network."""

from pathlib import Path
from typing import Annotated

import typer

from gffusion.utils.escaping import quote_word

from .errors import user_errors
from .library_logging import quiet_libraries
from .options import QuietOption
from .outputs import new_output
from .printing import print_line


def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a model that `gffusion models` lists, or Hub id.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="New or empty folder.")],
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision",
            metavar="REVISION",
            help="Branch, tag or commit on the Hub. [default: that of the listed model, else main]",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Save a model with its frozen encoders to one folder, which loads on machines without network."""
    has_configuration = (output / "config.json").is_file()
    with user_errors(), new_output(output):
        from gffusion.hub import pull as save_model  # imports torch

        quiet_libraries()
        save_model(name, output, revision=revision)
    done = f"{name} is complete in {output}" if has_configuration else f"{name} -> {output}"
    print_line(f"{done} (use it with --model {quote_word(str(output))})")
