"""Notice label maps that were made from boxes without class names, and that a known dataset would number otherwise."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from gffusion.data.boxes.yolo import read_yolo_text, scan_yolo
from gffusion.data.io import read_labels
from gffusion.data.label_values import IGNORED
from gffusion.data.layouts import LAYOUTS, FoundPairs
from gffusion.data.layouts.base import find_folder
from gffusion.data.pairs import ImagePair
from gffusion.utils.notes import name_first

_LOOKED_AT = 20  # label maps that are compared with boxes


def find_numbers_of_boxes(found: FoundPairs) -> str | None:
    """Return a note if label maps, read by the numbers of a known dataset, seem to be made from boxes without class names, or `None`."""
    labeled = [pair for pair in found.pairs if pair.labels is not None]
    if not labeled or not found.class_names or found.names_file is not None:
        return None
    root = labeled[0].visible.parents[1]
    with suppress(OSError, ValueError):
        folder = find_folder(root, "boxes")  # which no known dataset has
        own = LAYOUTS["folders"](root, None, True) if folder else None
        if own and own.class_names is None and _hold_numbers_of_boxes(labeled[:_LOOKED_AT], own.pairs):
            classes = [f"{label} {name}" for label, name in enumerate(found.class_names, start=1)]
            return (
                f"label maps are read as {name_first(classes)}, but seem to be made from the boxes in {folder}, whose classes have no "
                f"names. If these are others, {found.own_names_advice}"
            )
    return None


def _hold_numbers_of_boxes(labeled: Sequence[ImagePair], own: Sequence[ImagePair]) -> bool:
    """Return whether each label map only holds numbers that `gffusion masks` gives to the YOLO boxes of its image, and some one."""
    boxes, seen = {pair.visible: pair.boxes for pair in own}, set[int]()
    for pair in labeled:
        file = boxes.get(pair.visible)
        text = read_yolo_text(file) if isinstance(file, Path) else None
        if text is None or pair.labels is None:
            return False
        labels = set(np.unique(read_labels(pair.labels)).tolist()) - {0, IGNORED}
        if not labels <= {number + 1 for number in scan_yolo(text)[0]}:
            return False
        seen |= labels
    return bool(seen)
