"""Options that several commands have."""

import sys
from typing import Annotated

import typer

from .models import complete_model

DEVICES = '"auto" (a GPU if there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps", ...'


def _hide_progress(quiet: bool) -> None:
    if quiet or "gffusion.utils.progress" in sys.modules:
        from gffusion.utils.progress import hide_progress  # takes time to import

        hide_progress(quiet)


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Name of a bundled model, folder, or Hub id.",
        autocompletion=complete_model,
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help=DEVICES)]
OverwriteFileOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
OverwriteFilesOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing files instead of skipping them.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a report, or an error, as JSON.")]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="After all is fused, exit with code 1 if there are files or video frames without a partner, notes or warnings, but "
        "not for notes about outputs that are kept, or about ranges and rigs that were measured.",
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        expose_value=False,
        callback=_hide_progress,
        help="Show no progress: no bar, and no line every ten seconds where standard error is not a terminal.",
    ),
]
ZoomOption = Annotated[
    str | None,
    typer.Option(
        "--zoom",
        metavar="LEFT,TOP,WIDTH,HEIGHT",
        help="Part of the images to enlarge, in pixels. [default: where they differ most]",
    ),
]
