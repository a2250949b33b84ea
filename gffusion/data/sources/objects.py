"""Boxes from the "objects" column of a `datasets.Dataset`."""

from collections.abc import Sequence
from typing import Any

from gffusion.data.boxes.base import MAX_CLASSES, Boxes, NamedBoxes, clip_boxes


def convert_objects(objects: Any, size: tuple[int, int], class_names: tuple[str, ...] | None, origin: str) -> Boxes:
    """Return the boxes of one row, clipped to the image; raise ValueError, naming `origin`, if a category is not a class.

    Objects are a dict of lists, or a list of dicts, of "bbox" (left, top, width, height in pixels) and "category" (an
    index or a name).
    """
    try:
        corners = [(x, y, x + w, y + h) for x, y, w, h in list_column(objects, "bbox")]
        categories = list(list_column(objects, "category"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{origin}: boxes must be a dict of "bbox", a list of (left, top, width, height), and "category", a list of '
            f"indices or names, got {objects!r}"
        ) from error
    if len(categories) != len(corners):
        raise ValueError(f"{origin}: {len(corners)} boxes have {len(categories)} categories")
    if any(isinstance(category, str) for category in categories):
        return NamedBoxes(origin, None, tuple(categories), tuple(corners)).to_boxes(size, class_names)
    classes = [int(category) for category in categories]
    known = len(class_names) if class_names else MAX_CLASSES
    if classes and not 0 <= min(classes) <= max(classes) < known:
        raise ValueError(f"{origin}: categories must be indices from 0 to {known - 1}, got {classes}")
    return clip_boxes(corners, classes, size, origin)


def list_column(objects: Any, name: str) -> Any:
    """Return "bbox" or "category" of all objects of one row."""
    return objects[name] if isinstance(objects, dict) else [entry[name] for entry in objects]


def read_category_names(objects: Any) -> Sequence[str] | None:
    """Return the names of the `ClassLabel` under "category", if the feature of the column `objects` has one."""
    objects = getattr(objects, "feature", objects)
    category = objects.get("category") if isinstance(objects, dict) else None
    return getattr(getattr(category, "feature", category), "names", None)
