"""Reads the boxes around objects from YOLO, Pascal VOC and COCO files."""

import functools
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

logger = logging.getLogger(__name__)

BOX_SUFFIXES: tuple[str, ...] = (".txt", ".xml")
"""Suffixes of the files that hold the boxes of one image: YOLO and Pascal VOC."""

_VOC_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# Relative coordinates further outside than this are no box that juts out of the image, but pixels.
_FURTHEST = 2.0
# M3FD writes People where others say person.
_SYNONYMS = {"people": "person"}

Entry = TypeVar("Entry")


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one image.

    Attributes:
        coordinates: (N, 4) float32 left, top, right, bottom in pixels, clipped to the image, with an area. They are the
            edges of the box: one around the whole image is (0, 0, width, height).
        classes: (N,) int64 indices, from 0, into the class names of the data set.
    """

    coordinates: NDArray[np.float32]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class NamedBoxes:
    """Boxes with the names of their classes, as VOC and COCO files hold them, before they are clipped.

    Attributes:
        origin: What they were read from, for messages.
        size: Height and width of the image that they were drawn on, where the file says so.
        names: The class of every box.
        coordinates: Left, top, right and bottom edge of every box in pixels.
    """

    origin: str
    size: tuple[int, int] | None
    names: tuple[str, ...]
    coordinates: tuple[tuple[float, float, float, float], ...]


def read_boxes(
    source: str | os.PathLike[str] | NamedBoxes, size: tuple[int, int], class_names: Sequence[str] | None = None
) -> Boxes:
    """Reads the boxes of one image. Boxes outside the image or without an area are left out and reported by `logging`.

    - YOLO, `.txt`: a box a row, `class centre_x centre_y width height`, relative to the image; a sixth number, the
      confidence of a detector, is passed over.
    - Pascal VOC, `.xml`: corners count pixels from 1 and belong to the box, so that `xmin=1, xmax=width` spans the image
      (Everingham et al., "The PASCAL Visual Object Classes Challenge: Development Kit"), as labelImg writes them.

    A file without objects is an image without objects. Class names are compared without regard to case; `People` stands
    for `person` where only that is a class.

    Args:
        source: A `.txt` or `.xml` file, or what `read_coco` read for one image.
        size: Height and width of the image in pixels.
        class_names: The classes. YOLO files may do without: they hold indices.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is malformed, holds a class that is not in `class_names`, or was made for another size.
    """
    if isinstance(source, NamedBoxes):
        return _from_named(source, size, class_names)
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return _read_yolo(path, size, class_names)
    if suffix == ".xml":
        return _from_named(_read_voc(path), size, class_names)
    if suffix == ".json":
        raise ValueError(f"{path} holds the boxes of a whole folder; read it with read_coco")
    raise ValueError(f"cannot read boxes from {path}: the suffix must be one of {', '.join(BOX_SUFFIXES)}, .json")


def read_coco(path: str | os.PathLike[str]) -> tuple[dict[str, NamedBoxes], tuple[str, ...]]:
    """Reads a COCO detection file, whose boxes are `[left, top, width, height]` in pixels.

    Crowds (`iscrowd`) are passed over: their boxes hold a group, not an object.

    Args:
        path: A `.json` file of `images`, `annotations` and `categories` (https://cocodataset.org/#format-data).

    Returns:
        The boxes of every listed image by its stem, an image without annotations included, and the names of the
        categories in the order of their ids, which may have gaps.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is malformed, or two images have the same stem.
    """
    path = Path(path)
    content = _load_json(path)
    try:
        categories = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        images = {entry["id"]: entry for entry in content["images"]}
        drawn: dict[Any, list[dict[str, Any]]] = {key: [] for key in images}
        for annotation in content["annotations"]:
            if not annotation.get("iscrowd", 0):
                _listed(drawn, annotation["image_id"], "image").append(annotation)
        boxes = [_coco_image(path, entry, drawn[key], categories) for key, entry in images.items()]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        cause = f"an entry lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is no COCO detection file: {cause}") from error
    by_stem: dict[str, NamedBoxes] = {}
    for entry, image in zip(images.values(), boxes, strict=True):
        stem = PurePosixPath(entry["file_name"].replace("\\", "/")).stem
        if by_stem.setdefault(stem, image) is not image:
            raise ValueError(f"{path} lists two images of the stem {stem}, which leaves open whose boxes are meant")
    return by_stem, tuple(categories[key] for key in sorted(categories))


def _load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    if not isinstance(content, dict) or (missing := {"images", "annotations", "categories"} - content.keys()):
        lacking = ", ".join(sorted(missing)) if isinstance(content, dict) else "an object at its top"
        raise ValueError(f"{path} is no COCO detection file: it lacks {lacking}")
    return content


def _listed(entries: dict[Any, Entry], key: Any, kind: str) -> Entry:
    if key not in entries:
        raise ValueError(f"an annotation refers to the {kind} {key}, which it does not list")
    return entries[key]


def _coco_image(
    path: Path, image: dict[str, Any], annotations: list[dict[str, Any]], categories: dict[int, str]
) -> NamedBoxes:
    corners = []
    for annotation in annotations:
        left, top, width, height = map(float, annotation["bbox"])
        if min(width, height) < 0:
            raise ValueError(f"the box {annotation['bbox']} of {image['file_name']} has a negative side")
        corners.append((left, top, left + width, top + height))
    return NamedBoxes(
        origin=f"{path} ({image['file_name']})",
        size=(int(image["height"]), int(image["width"])) if {"height", "width"} <= image.keys() else None,
        names=tuple(_listed(categories, int(annotation["category_id"]), "category") for annotation in annotations),
        coordinates=tuple(corners),
    )


def _read_yolo(path: Path, size: tuple[int, int], class_names: Sequence[str] | None) -> Boxes:
    height, width = size
    classes, coordinates = [], []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            index, (x, y, w, h) = _parse_yolo_row(line.split(), class_names)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}, got {line.strip()!r}") from error
        classes.append(index)
        coordinates.append(((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
    return clip_boxes(coordinates, classes, size, str(path))


def _parse_yolo_row(columns: list[str], class_names: Sequence[str] | None) -> tuple[int, list[float]]:
    if len(columns) not in (5, 6):
        raise ValueError("a YOLO row is class, centre x, centre y, width and height (and a confidence at most)")
    try:
        index, *box = map(float, columns[:5])
    except ValueError:
        raise ValueError("a YOLO row holds numbers only") from None
    known = len(class_names) if class_names is not None else float("inf")
    if not (index.is_integer() and 0 <= index < known):
        allowed = f"from 0 to {known - 1} ({', '.join(class_names)})" if class_names is not None else "from 0"
        raise ValueError(f"the class must be a whole number {allowed}")
    if not all(abs(value) <= _FURTHEST for value in box) or min(box[2:]) < 0:  # NaN fails this, too
        raise ValueError("YOLO boxes are relative to the image: centres in [0, 1], widths and heights in [0, 1]")
    return int(index), box


def _read_voc(path: Path) -> NamedBoxes:
    try:
        root = ElementTree.fromstring(_read_text(path))
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no XML file: {error}") from error
    names, corners = [], []
    for number, entry in enumerate(root.iter("object"), start=1):
        try:
            left, top, right, bottom = (float(entry.findtext(f"bndbox/{key}", "")) for key in _VOC_CORNERS)
        except ValueError:
            raise ValueError(f"{path}: object {number} lacks a number in bndbox/{', '.join(_VOC_CORNERS)}") from None
        names.append(entry.findtext("name", "").strip())
        corners.append((left - 1, top - 1, right, bottom))
    return NamedBoxes(str(path), _voc_size(root), tuple(names), tuple(corners))


def _voc_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Reads the size, which some tools leave out or set to 0."""
    try:
        height, width = (int(root.findtext(f"size/{key}", "")) for key in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None


def _from_named(boxes: NamedBoxes, size: tuple[int, int], class_names: Sequence[str] | None) -> Boxes:
    if class_names is None:
        raise ValueError(f"{boxes.origin} holds names of classes; class_names must say which of them has which index")
    if boxes.size not in (None, size):
        (drawn_height, drawn_width), (height, width) = boxes.size, size
        raise ValueError(
            f"{boxes.origin}: the boxes were drawn on an image of {drawn_width}x{drawn_height} (width x height), but the "
            f"image measures {width}x{height}; scale the boxes, or take the image that they were drawn on"
        )
    indices = {name.casefold(): index for index, name in enumerate(class_names)}
    classes = [_class_index(name, indices, boxes.origin) for name in boxes.names]
    return clip_boxes(boxes.coordinates, classes, size, boxes.origin)


def _class_index(name: str, indices: dict[str, int], origin: str) -> int:
    key = name.casefold()
    index = indices.get(key, indices.get(_SYNONYMS.get(key, key)))
    if index is None:
        raise ValueError(f"{origin}: {name!r} is none of the classes {', '.join(indices)}")
    return index


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error}") from error


def clip_boxes(coordinates: ArrayLike, classes: Sequence[int], size: tuple[int, int], origin: str) -> Boxes:
    """Clips boxes to their image, and leaves out and reports those outside it or without an area.

    Args:
        coordinates: (N, 4) left, top, right and bottom edges in pixels.
        classes: N indices into the class names.
        size: Height and width of the image in pixels.
        origin: What the boxes were read from, for messages.

    Raises:
        ValueError: If a coordinate is NaN or infinite.
    """
    height, width = size
    corners = np.asarray(coordinates, dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(corners).all():
        raise ValueError(f"{origin}: a box has coordinates that are NaN or infinite")
    clipped = corners.clip(0, (width, height, width, height)).astype(np.float32)
    has_area = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    if not has_area.all():
        _report_once(origin, int((~has_area).sum()), len(has_area))
    return Boxes(clipped[has_area], np.asarray(classes, dtype=np.int64)[has_area])


@functools.cache
def _report_once(origin: str, left_out: int, total: int) -> None:
    """Keeps an image that is read in every epoch from being reported in every epoch."""
    logger.warning("%s: left out %d of %d boxes, outside the image or without an area", origin, left_out, total)
