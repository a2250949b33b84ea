"""The layout of this library."""

from pathlib import Path

from gffusion.data.boxes import read_coco
from gffusion.data.names import INFRARED_OR_NEAR, VISIBLE
from gffusion.data.pairs import CLASSES_FILE, match_pairs

from .base import FoundPairs, find_folder, find_split, read_lines, require_folder


def find_folders(root: Path, split: str | None = None) -> FoundPairs:
    """Find pairs in `visible/` and `infrared/`, with optional `labels/` and `boxes/`; a split is a subfolder of `root`.

    Folders with other usual names are accepted, such as `rgb/` and `thermal/`, or `可见光/` and `红外/`.
    `boxes/` contains one YOLO or VOC file per image, or one COCO `.json` file for all images. `classes.txt`, next to or in
    `boxes/`, names the classes, one per line.
    """
    root = find_split(root, split, "folders")
    boxes = find_folder(root, "boxes")
    coco = sorted(file for file in boxes.iterdir() if file.suffix.lower() == ".json") if boxes else []
    if len(coco) > 1:
        raise ValueError(f"{boxes} contains {len(coco)} COCO files ({coco[0].name}, ...); keep only one")
    by_stem, class_names = read_coco(coco[0]) if coco else (None, None)
    lists = [folder / CLASSES_FILE for folder in (root, boxes) if folder and (folder / CLASSES_FILE).is_file()]
    match = match_pairs(
        require_folder(root, "folders", "visible", kind=VISIBLE),
        require_folder(root, "folders", "infrared", kind=INFRARED_OR_NEAR),
        find_folder(root, "labels"),
        by_stem or boxes,
    )
    return FoundPairs(match, read_lines(lists[0]) if lists else class_names)
