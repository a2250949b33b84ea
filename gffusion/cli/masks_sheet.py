"""The contact sheet of `gffusion masks`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gffusion.utils.atomic import is_written

from .messages import print_note
from .outputs import resolve_files, write_output
from .printing import list_names, print_line

if TYPE_CHECKING:
    from gffusion.data import ImagePair
    from gffusion.data.infrared_range import PairRanges

SHEET_PAIRS = 8
"""Largest number of pairs that are shown."""


def check_contact_sheet(sheet: Path, files: list[Path], labels: Path, label_maps: list[Path]) -> None:
    """Raise ValueError if the contact sheet would be in a folder of the data, or look like a label map."""
    resolved, folders = sheet.resolve(), {labels, *(path.parent for path in files)}
    if resolved.parent in {folder.resolve() for folder in folders} or resolved in resolve_files(files):
        raise ValueError(f"--contact-sheet {sheet} is in a folder of the data: choose another folder")
    if resolved.with_suffix("") in (path.with_suffix("") for path in resolve_files(label_maps)):
        raise ValueError(f"--contact-sheet {sheet} has the name of a label map: choose another one")


def write_contact_sheet(
    pairs: list["ImagePair"],
    class_names: Sequence[str] | None,
    file: Path,
    ranges: "PairRanges | None",
    overwrite: bool,
    max_pixels: int,
) -> None:
    """Write the contact sheet, or print why it is not written."""
    import numpy as np

    from gffusion.data.io import encode_image
    from gffusion.labeling.contact_sheet import choose_pairs, draw_contact_sheet  # imports torch

    if missing := [pair.name for pair in pairs if not is_labeled(pair)]:  # a sheet without them would be kept later
        reason = f"there is no label map of {list_names(missing)}; the same command writes it when all pairs have one"
        print_line(f"wrote no contact sheet: {reason}", err=True)
        return
    chosen = choose_pairs(pairs, SHEET_PAIRS, max_pixels)
    if not chosen:
        print_line(f"wrote no contact sheet: the {len(pairs)} label maps contain no objects", err=True)
        return
    content = encode_image(file, np.asarray(draw_contact_sheet(chosen, class_names, ranges)))
    if file.is_file() and not overwrite and file.read_bytes() != content:
        print_note(
            f"--contact-sheet {file} exists and shows something else, so it is kept: remove it, or choose another file"
        )
        return
    write_output(file, content)
    print_line(f"{len(chosen)} of {len(pairs)} label maps shown -> {file}")


def is_labeled(pair: "ImagePair") -> bool:
    """Return whether the label map of a pair exists."""
    return pair.labels is not None and is_written(pair.labels)
