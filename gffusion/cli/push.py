"""`gffusion push`: publish a model on the Hub."""

from typing import Annotated

import typer

from .errors import user_errors
from .library_logging import quiet_libraries
from .printing import print_json, print_line


def push(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder, such as runs/mine/best, or name of a bundled model.")
    ],
    repo_id: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Repository; created if needed.")],
    full: Annotated[
        bool, typer.Option("--full", help="Include the frozen encoders, even if they were saved without them.")
    ] = False,
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Include the code, so that the model loads without gffusion.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch; created if needed. [default: main]")
    ] = None,
    commit_message: Annotated[
        str | None,
        typer.Option(metavar="MESSAGE", help="First line of the commit message. [default: version of gffusion]"),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Publish despite damaged weights, an unfinished training run or other problems."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check the model and print the files, without publishing. This needs no network, except for --full if the encoders "
            "are on the Hub.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the files of --dry-run, or the address, as JSON.")
    ] = False,
) -> None:
    """Publish a model on the Hugging Face Hub: weights, configuration, model card and its images.

    Log in with `hf auth login` first. After an interruption, the same command uploads only the missing files.
    """
    with user_errors():
        from gffusion.zoo.registry import locate_folder  # saves start-up time of the other commands

        locate_folder(model)
        from gffusion.hub import push as publish  # saves start-up time: imports torch
        from gffusion.hub.publishing import find_published_files

        quiet_libraries()
        if dry_run:
            found = find_published_files(model, repo_id, full=full or None, with_code=with_code, force=force)
            if as_json:
                print_json({"repo_id": repo_id, "files": found})
                return
            place = f"{repo_id}{f', branch {revision}' if revision else ''}{', private' if private else ''}"
            print_line(f"would publish {len(found)} files ({sum(found.values()) / 1e6:.1f} MB) -> {place}:")
            for name, size in found.items():
                print_line(f"  {name} ({size:,} bytes)")
            return
        address = publish(
            model,
            repo_id,
            full=full or None,
            with_code=with_code,
            private=private or None,
            revision=revision,
            commit_message=commit_message,
            force=force,
        )
    if as_json:
        print_json({"repo_id": repo_id, "address": address})
    else:
        print_line(f"published -> {address}")
