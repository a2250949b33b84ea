"""Options that several commands have."""

import sys
from typing import Annotated

import typer

from .models import complete_model

DEVICES = '"auto", "cpu", "cuda", "cuda:1", "mps", ...'


def _hide_progress(quiet: bool) -> None:
    if quiet or "gffusion.utils.progress" in sys.modules:
        from gffusion.utils.progress import hide_progress  # takes time to import

        hide_progress(quiet)


ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", help="Name of a bundled model, folder, or Hub id.", autocompletion=complete_model),
]
DeviceOption = Annotated[str, typer.Option("--device", help=DEVICES)]
OverwriteFileOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
OverwriteFilesOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing files instead of skipping them.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a report, or an error, as JSON.")]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Exit with code 1 if anything was not as it should be, after all is fused: files or video frames without a "
        "partner, notes and warnings, but not notes about kept outputs, measured ranges and rigs.",
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        expose_value=False,
        callback=_hide_progress,
        help="Show no progress: neither a bar nor, where standard error is no terminal, a line every ten seconds.",
    ),
]
ZoomOption = Annotated[
    str | None,
    typer.Option(
        "--zoom",
        metavar="LEFT,TOP,WIDTH,HEIGHT",
        help="Part of the images that is enlarged, in pixels. [default: where they differ most]",
    ),
]
