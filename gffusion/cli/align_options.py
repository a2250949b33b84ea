"""Options of the alignment of the two images, shared by several commands."""

from typing import Annotated, Any

import typer

from .choices import REFERENCES, show_choices

AlignOption = Annotated[
    str,
    typer.Option(
        "--align",
        metavar="{none,resize,auto,RIG.json}",
        help='How images that do not match pixel by pixel are aligned: "none" refuses different sizes, "resize" is for cameras '
        'with the same field of view, "auto" uses the tags of the files or estimates the position from up to ten pairs, and '
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
    bool, typer.Option("--crop", help="Keep only the largest rectangle that both cameras see. Needs --align.")
]


def parse_alignment(align: str, reference: str = "visible", crop: bool = False) -> dict[str, Any]:
    """Return the fields of [`ReadOptions`] for the options of a command line.

    Raises:
        OSError: If the file of the rig cannot be read.
        ValueError: If an option is wrong.
    """
    from gffusion.data.rigs import parse_align  # saves start-up time

    if reference not in REFERENCES:
        raise ValueError(f"--reference must be visible or infrared, got {reference!r}")
    if align == "none" and (crop or reference != "visible"):
        option = "--crop" if crop else "--reference infrared"
        raise ValueError(f"{option} needs --align resize, auto or RIG.json")
    return {"align": parse_align(align), "reference": reference, "crop": crop}
