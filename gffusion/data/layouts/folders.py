"""The layout of this library."""

import logging
from dataclasses import replace
from pathlib import Path

from gffusion.data.boxes import BOX_SUFFIXES, NamedBoxes, read_coco
from gffusion.data.class_names import check_class_names, read_unchecked_names
from gffusion.data.file_names import INFRARED_OR_NEAR, VISIBLE, is_listed
from gffusion.data.pair_lists import list_pairs
from gffusion.data.pairs import CLASSES_FILE, match_pairs

from .base import FoundPairs, find_folder, find_split, require_folder

logger = logging.getLogger(__name__)


def find_folders(root: Path, split: str | None = None, with_boxes: bool = True) -> FoundPairs:
    """Find pairs in `visible/` and `infrared/`, with optional `labels/` and `boxes/`; a split is a subfolder of `root`.

    Folders with other usual names are accepted, such as `rgb/` and `thermal/`, or `可见光/` and `红外/`. `boxes/` contains
    one YOLO, VOC or KAIST file per image, or one COCO `.json` file for all images; without `boxes/`, the COCO file can
    be next to the other folders or in `annotations/`. `classes.txt`, next to or in `boxes/`, names the classes after the
    background, one per line; without boxes, its first line can also be "background" or another name of it.
    """
    root = find_split(root, split, "folders")
    boxes = find_folder(root, "boxes")
    lists = [folder / CLASSES_FILE for folder in (root, boxes) if folder and (folder / CLASSES_FILE).is_file()]
    files = _find_coco(root, boxes)
    by_stem, class_names = _read_coco(files, with_boxes, is_named=bool(lists))
    if lists:
        class_names = read_unchecked_names(lists[0], of_boxes=boxes is not None or by_stem is not None)
    names_file = next(iter((*lists, *(files if class_names else ()))), None)
    labels = find_folder(root, "labels")
    match = match_pairs(
        require_folder(root, "folders", "visible", kind=VISIBLE),
        require_folder(root, "folders", "infrared", kind=INFRARED_OR_NEAR),
        labels,
        (by_stem or boxes) if with_boxes else None,
    )
    return FoundPairs(match, class_names, labels or root / "labels", names_file)


def find_listed(file: Path, with_boxes: bool) -> FoundPairs:
    """Return the pairs of a CSV file, see [`list_pairs`], with the classes of a `classes.txt` next to it."""
    match, names_file = list_pairs(file, None, with_annotations=True), file.with_name(CLASSES_FILE)
    of_boxes = any(pair.boxes is not None for pair in match.pairs)
    names = read_unchecked_names(names_file, of_boxes) if names_file.is_file() else None
    if not with_boxes:
        match = replace(match, pairs=tuple(replace(pair, boxes=None) for pair in match.pairs))
    return FoundPairs(match, names, file.with_name("labels"), names_file if names else None)


def _find_coco(root: Path, boxes: Path | None) -> list[Path]:
    """Return the COCO files in `boxes`, or without that folder, next to the images or in `annotations/`.

    A single file in `boxes` without others is meant as one, also if it cannot be read.
    """
    folders = [boxes] if boxes else [folder for folder in (root, find_folder(root, "annotations")) if folder]
    files = sorted(file for folder in folders for file in folder.iterdir() if is_listed(file, (".json",)))
    if (
        boxes
        and len(files) == 1
        and not any(is_listed(file, BOX_SUFFIXES) and file.name.lower() != CLASSES_FILE for file in boxes.iterdir())
    ):
        return files
    # Other programs store their settings there, or a file for each image.
    keys = (b'"images"', b'"annotations"') if boxes else (b'"images"', b'"annotations"', b'"bbox"')
    return [file for file in files if file.is_file() and all(key in file.read_bytes() for key in keys)]


def _read_coco(
    files: list[Path], with_boxes: bool, is_named: bool
) -> tuple[dict[str, NamedBoxes] | None, tuple[str, ...] | None]:
    """Read the COCO file. Without boxes, only its class names are needed, and a damaged one is reported.

    `is_named` tells that the classes are named elsewhere.
    """
    try:
        if len(files) > 1:
            raise ValueError(
                f"{files[0].parent} contains {len(files)} COCO files ({files[0].name}, ...); keep only one"
            )
        by_stem, class_names = read_coco(files[0]) if files else (None, None)
        if class_names and not is_named and not with_boxes:
            check_class_names(class_names, str(files[0]))
        return by_stem, class_names
    except ValueError as error:
        if with_boxes:
            raise
        logger.warning("%s (boxes are not needed here; without class names, classes are numbered)", error)
        return None, None
