"""`gffusion pull`: fetches a model for machines without network."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import user_errors
from .quiet import quiet_libraries


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a model of the zoo, or Hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to make.")],
    revision: Annotated[str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit on the Hub.")] = None,
) -> None:
    """Fetch a model with its frozen encoders into one folder, which loads without network on any machine."""
    with user_errors():
        from gffusion.hub.publishing import pull as fetch

        quiet_libraries()
        fetch(name, output, revision=revision)
    typer.echo(f"{name} -> {output}, to be used as --model {output}")
