"""Options of reading image files that are large, end early, have no header or few bits, shared by several commands."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .choices import show_choices

if TYPE_CHECKING:
    from gffusion.data import ReadOptions

MAX_PIXELS = 100_000_000
"""Default of --max-pixels, as `gffusion.data.bounds.DEFAULT_MAX_PIXELS`, whose import takes time."""
TRUNCATED = ("refuse", "fill")

MaxPixelsOption = Annotated[
    int,
    typer.Option(
        "--max-pixels", min=1, metavar="COUNT", help="Refuse images with more pixels, before they are decoded."
    ),
]
TruncatedOption = Annotated[
    str,
    typer.Option(
        "--truncated",
        metavar=show_choices(TRUNCATED),
        help="Image files that end early: refuse them, or fill their missing part and print a note.",
    ),
]
VisibleRangeOption = Annotated[
    str | None,
    typer.Option(
        "--visible-range",
        metavar="LOW,HIGH",
        help="Values of the visible image that become black and white, such as 0,4095; for cameras with 10, 12 or 14 bits in "
        "16-bit files, and for reflectance. [default: the range of the file's type]",
    ),
]
RawFrameOption = Annotated[
    str | None,
    typer.Option(
        "--raw-frame",
        metavar="HxW,TYPE",
        help='Height, width and type of infrared files in no image format (.raw, .bin, .dat), such as "512x640,uint16"; the type '
        '">u2" has big-endian words. "512x640,uint16,64" skips a header of 64 bytes.',
    ),
]


def parse_reading(raw_frame: str | None, truncated: str, visible_range: str | None, **options: Any) -> "ReadOptions":
    """Return how images are read; `options` are further fields of [`ReadOptions`].

    Raises:
        ValueError: If an option is wrong.
    """
    from gffusion.data import ReadOptions  # these imports take time that `gffusion --help` need not spend
    from gffusion.data.raw_frames import RawFrame
    from gffusion.data.visible_range import check_visible_range

    raw = None if raw_frame is None else RawFrame.parse(raw_frame)
    if truncated not in TRUNCATED:
        raise ValueError(f"--truncated must be refuse or fill, got {truncated!r}")
    limits = check_visible_range(visible_range, "--visible-range")
    return ReadOptions(raw_frame=raw, truncated=truncated, visible_range=limits, **options)  # type: ignore[arg-type]
