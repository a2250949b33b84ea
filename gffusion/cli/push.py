"""`gffusion push`: publishes a model on the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import user_errors
from .quiet import quiet_libraries


def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the model, such as runs/mine/best.")],
    repo_id: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Repository; created if needed.")],
    full: Annotated[bool, typer.Option("--full", help="Add the frozen encoders to what was trained.")] = False,
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Add the code, for people who do not have gffusion.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch; created if needed. [default: main]")
    ] = None,
    commit_message: Annotated[
        str | None, typer.Option(metavar="TEXT", help="First line of the commit. [default: gffusion and its version]")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Publish weights that are incomplete, not finite or not trained to the end.")
    ] = False,
) -> None:
    """Publish a model on the Hugging Face Hub: weights, settings, model card and its pictures.

    Log in with `hf auth login` before. After an interruption, the same command goes on where it was.
    """
    with user_errors():
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder")
        from gffusion.hub.publishing import push as publish  # imports torch: not before the arguments make sense

        quiet_libraries()
        address = publish(
            folder,
            repo_id,
            full=full,
            with_code=with_code,
            private=private or None,
            revision=revision,
            commit_message=commit_message,
            force=force,
        )
    typer.echo(f"published -> {address}")
