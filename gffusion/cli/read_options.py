"""Options of reading and aligning the images of a pair, shared by several commands."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .choices import REFERENCES, show_choices

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
InfraredLumaOption = Annotated[
    bool,
    typer.Option(
        "--infrared-luma",
        help="Take the brightness of infrared images in color as their intensity. By default, colors of known palettes are mapped "
        "back to intensity, and images in other colors are refused.",
    ),
]
KeepBordersOption = Annotated[
    bool,
    typer.Option(
        "--keep-borders",
        help="Take black or white borders of infrared images as measured values. By default, borders that a registration left "
        "are filled from the visible image.",
    ),
]
AlignOption = Annotated[
    str,
    typer.Option(
        "--align",
        metavar="{none,resize,auto,RIG.json}",
        help='How images that do not match pixel by pixel are aligned: "none" refuses different sizes, "resize" is for cameras '
        'with the same field of view, "auto" uses the tags or georeferences of the files or estimates the position from up to ten pairs, and '
        "RIG.json is a file of `gffusion align`.",
    ),
]
ReferenceOption = Annotated[
    str,
    typer.Option(
        "--reference",
        metavar=show_choices(REFERENCES),
        help="Image whose frame and size the result has. Needs --align.",
    ),
]
CropOption = Annotated[
    bool,
    typer.Option(
        "--crop",
        help="Keep only the largest rectangle that both cameras see, without borders of the infrared image. Needs --align.",
    ),
]


def parse_reading(
    raw_frame: str | None,
    truncated: str,
    visible_range: str | None,
    align: str = "none",
    reference: str = "visible",
    crop: bool = False,
    **options: Any,
) -> "ReadOptions":
    """Return how images are read and aligned; `options` are further fields of [`ReadOptions`]."""
    from gffusion.data import ReadOptions  # these imports take time that `gffusion --help` need not spend
    from gffusion.data.raw_frames import RawFrame
    from gffusion.data.rigs import parse_align
    from gffusion.data.visible_range import check_visible_range

    return ReadOptions(
        parse_align(align),
        reference=reference,  # type: ignore[arg-type]
        crop=crop,
        raw_frame=None if raw_frame is None else RawFrame.parse(raw_frame),
        truncated=truncated,  # type: ignore[arg-type]
        visible_range=check_visible_range(visible_range, "--visible-range"),
        **options,
    )
