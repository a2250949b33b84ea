"""Options of image files that are large or end early, shared by several commands."""

from typing import Annotated

import typer

MAX_PIXELS = 100_000_000
"""Default of --max-pixels, as `gffusion.data.bounds.DEFAULT_MAX_PIXELS`, whose import takes time."""

MaxPixelsOption = Annotated[
    int,
    typer.Option("--max-pixels", min=1, metavar="COUNT", help="Refuse images of more pixels, before they are decoded."),
]
TruncatedOption = Annotated[
    str,
    typer.Option(
        "--truncated",
        metavar="HOW",
        help='Image files that end early: "refuse", or "fill" their missing part and print a note.',
    ),
]


def check_truncated(truncated: str) -> str:
    """Return the value of --truncated.

    Raises:
        ValueError: If it is not allowed.
    """
    if truncated not in ("refuse", "fill"):
        raise ValueError(f"--truncated must be refuse or fill, got {truncated!r}")
    return truncated
