"""Read Pascal VOC box files."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree

import numpy as np

from gffusion.utils.escaping import to_line
from gffusion.utils.xml_text import parse_xml

from .base import Boxes, NamedBoxes, read_text, turn_box
from .checks import check_pixels

_Box: TypeAlias = tuple[float, float, float, float]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, size: tuple[int, int], class_names: Sequence[str] | None) -> Boxes:
    """Read a Pascal VOC file, as labelImg writes it.

    Pixels are counted from 1 and both corners belong to the box: `xmin=1, xmax=width` spans the image (Everingham et
    al., "The PASCAL Visual Object Classes Challenge: Development Kit"). If a number of the file has a decimal point,
    as CVAT writes them, or is 0, corners are edges that are counted from 0; equal whole numbers are then a box of one
    pixel, too. A `bndbox` with the attribute `rotation` of CVAT, in degrees, is rotated about its center: the box
    around it is returned. An object without `bndbox` can have a `polygon` of `x1, y1, x2, y2, x3, y3, ...`, as in
    DroneVehicle: its box is returned. See [`read_boxes`] for the arguments and errors.
    """
    try:
        root = parse_xml(read_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is not an XML file that can be read: {error}") from error
    for entry in root.iter():
        entry.tag = entry.tag.rpartition("}")[2]  # without its namespace
    objects = [*root.iter("object")]
    if root.tag.lower() != "annotation" and not objects:
        raise ValueError(
            f"{path} is not a Pascal VOC file: its root is <{to_line(root.tag)[:80]}>, not <annotation>. Export the boxes as Pascal VOC, "
            "COCO or YOLO, which CVAT offers, too"
        )
    corners, are_whole = [], True
    for number, entry in enumerate(objects, start=1):
        try:
            box, is_whole = _read_corners(entry)
        except ValueError:
            raise ValueError(
                f"{path}: object {number} needs the numbers bndbox/{', '.join(_CORNERS)}, or polygon/x1, y1, x2, y2, x3, y3, ..."
            ) from None
        corners.append(box)
        are_whole &= is_whole
    check_pixels(corners, str(path))
    names = tuple(entry.findtext("name", "").strip() for entry in objects)
    boxes = tuple(map(turn_box, _to_edges(corners, are_whole), map(_find_rotation, objects)))
    return NamedBoxes(str(path), _read_size(root), names, boxes).to_boxes(size, class_names)


def _read_corners(entry: ElementTree.Element) -> tuple[_Box, bool]:
    """Return the numbers of a `bndbox`, or the limits of a `polygon` of at least three points, and whether none has a decimal point."""
    polygon = entry.find("polygon")
    if polygon is None or entry.find("bndbox") is not None:
        texts = [entry.findtext(f"bndbox/{key}", "") for key in _CORNERS]
        left, top, right, bottom = map(float, texts)
    else:
        numbers = range(1, max(3, len(polygon) // 2) + 1)
        texts = [polygon.findtext(f"{axis}{number}", "") for axis in "xy" for number in numbers]
        points = np.array(texts, float).reshape(2, -1)
        (left, top), (right, bottom) = points.min(axis=1).tolist(), points.max(axis=1).tolist()
    return (left, top, right, bottom), not any("." in text for text in texts)


def _to_edges(corners: list[_Box], are_whole: bool) -> list[_Box]:
    """Return the edges of boxes, counted from 0, of the corners in one file."""
    edges = np.array(corners).reshape(-1, 4)
    if are_whole and (edges == 0).any():
        is_written = edges.any(axis=1, keepdims=True)  # four zeros are a box that was left empty
        edges[:, 2:] += is_written & (edges[:, :2] == edges[:, 2:])
    elif are_whole:
        edges[:, :2] -= 1
    return [(left, top, right, bottom) for left, top, right, bottom in edges.tolist()]


def _find_rotation(entry: ElementTree.Element) -> float:
    """Return the rotation of a `bndbox` of CVAT in degrees; users can have an own attribute of this name, such as a direction."""
    if entry.find("bndbox") is not None:
        with suppress(ValueError):
            return float(entry.findtext("attributes/attribute[name='rotation']/value", ""))
    return 0


def _read_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return the stated height and width; some tools omit them or write 0."""
    try:
        height, width = (int(root.findtext(f"size/{key}", "")) for key in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None
