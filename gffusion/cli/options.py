"""Options that several commands have."""

import sys
from typing import Annotated

import typer

DEVICES = '"auto" (a GPU if there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps", ...'


def _hide_progress(quiet: bool) -> None:
    if quiet or "gffusion.utils.progress" in sys.modules:
        from gffusion.utils.progress import hide_progress  # takes time to import

        hide_progress(quiet)


DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help=DEVICES)]
OverwriteFileOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
OverwriteFilesOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing files instead of skipping them.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a report, or an error, as JSON.")]
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
