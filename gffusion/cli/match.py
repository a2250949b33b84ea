"""`gffusion match`: match the images of two cameras by the times in their names or EXIF data."""

from pathlib import Path
from typing import Annotated

import typer

from .choices import IMAGE_SUFFIXES
from .errors import user_errors
from .messages import print_note
from .options import JsonOption, OverwriteFileOption
from .outputs import check_new, new_output, write_output
from .printing import list_names, name_files, print_json, print_line


def match(
    visible: Annotated[
        Path,
        typer.Argument(
            metavar="VISIBLE",
            help="Folder of visible images with times in their names, such as 20240229_120000_250.jpg or 1709208000.25.png, or in "
            'their EXIF data; a pattern in quotes ("day/*.png"), or @list.txt.',
        ),
    ],
    infrared: Annotated[
        Path,
        typer.Argument(metavar="INFRARED", help="Folder, pattern or list of infrared images, which may be raw frames."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="CSV file of the pairs to write.")],
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Largest time difference of a pair, in seconds. [default: half the interval between frames of the faster camera]",
        ),
    ] = None,
    time_offset: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds that are added to the times of the infrared images.")
    ] = 0.0,
    overwrite: OverwriteFileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Match images by the times in their names or EXIF data, for two cameras that are not triggered together.

    Each image is matched with the nearest one of the other camera. FILE gets the columns visible, infrared and difference (infrared
    minus visible, in seconds) for `gffusion fuse FILE`, `gffusion align FILE`, `gffusion evaluate --visible FILE` and `gffusion train --train_data FILE`. Exit code: 0 if
    FILE was written, 2 if not.
    """
    with user_errors(), new_output(output):
        if output.suffix.lower() != ".csv":
            raise ValueError(f"--output must be a .csv file, got {output}")
        check_new(output, overwrite)
        # These imports take time that `gffusion --help` need not spend.
        from gffusion.data.capture_times import format_pairs, list_images, match_times
        from gffusion.data.mixed_folders import separate_kinds
        from gffusion.data.raw_frames import RAW_SUFFIXES

        files, others = list_images(visible), list_images(infrared, IMAGE_SUFFIXES + RAW_SUFFIXES)
        kinds = separate_kinds(files)[0], separate_kinds(others)[1]
        for kind, kept, listed in zip(("visible", "infrared"), kinds, (files, others), strict=True):
            if dropped := sorted(set(listed) - set(kept)):
                print_note(f"left out of the {kind} images by their names: {list_names(dropped)}")
        found = match_times(*kinds, tolerance, time_offset)
        write_output(output, format_pairs(found, output.parent).encode())
        for note in found.notes:
            print_note(note)
    for kind, left in (("infrared", found.visible_only), ("visible", found.infrared_only)):
        if left:
            print_line(f"left out {len(left)} without {kind} partner: {list_names(left)}", err=True)
    differences = sorted(abs(seconds) for _, _, seconds in found.pairs)
    print_line(
        f"{len(found.pairs)} pair{'s' * (len(found.pairs) > 1)} within {found.tolerance:g} s, median difference {differences[len(differences) // 2]:.3f} s, "
        f"largest {differences[-1]:.3f} s -> {output}"
    )
    if as_json:
        unmatched = {"visible": found.visible_only, "infrared": found.infrared_only}
        report = {
            "pairs": len(found.pairs),
            "unmatched": {kind: name_files(files) for kind, files in unmatched.items()},
            "tolerance": found.tolerance,
            "median_difference": differences[len(differences) // 2],
            "largest_difference": differences[-1],
            "output": str(output),
        }
        print_json(report)
