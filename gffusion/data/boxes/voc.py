"""Read Pascal VOC box files."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from gffusion.utils.escaping import to_line
from gffusion.utils.xml_text import parse_xml

from .base import Boxes, NamedBoxes, read_text
from .checks import check_pixels

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, size: tuple[int, int], class_names: Sequence[str] | None) -> Boxes:
    """Read a Pascal VOC file, as labelImg writes it.

    Pixels are counted from 1 and both corners belong to the box: `xmin=1, xmax=width` spans the image (Everingham et
    al., "The PASCAL Visual Object Classes Challenge: Development Kit"). An object without `bndbox` can have a `polygon` of
    `x1, y1, x2, y2, x3, y3, ...`, as in DroneVehicle: its box is returned. See [`read_boxes`] for the arguments and errors.
    """
    try:
        root = parse_xml(read_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is not an XML file that can be read: {error}") from error
    for entry in root.iter():
        entry.tag = entry.tag.rpartition("}")[2]  # without its namespace
    if root.tag.lower() != "annotation" and next(root.iter("object"), None) is None:
        raise ValueError(
            f"{path} is not a Pascal VOC file: its root is <{to_line(root.tag)[:80]}>, not <annotation>. Export the boxes as Pascal VOC, "
            "COCO or YOLO, which CVAT offers, too"
        )
    names, corners = [], []
    for number, entry in enumerate(root.iter("object"), start=1):
        try:
            corners.append(_read_corners(entry))
        except ValueError:
            raise ValueError(
                f"{path}: object {number} needs the numbers bndbox/{', '.join(_CORNERS)}, or polygon/x1, y1, x2, y2, x3, y3, ..."
            ) from None
        names.append(entry.findtext("name", "").strip())
    check_pixels(corners, str(path))
    boxes = tuple((left - 1, top - 1, right, bottom) for left, top, right, bottom in corners)
    return NamedBoxes(str(path), _read_size(root), tuple(names), boxes).to_boxes(size, class_names)


def _read_corners(entry: ElementTree.Element) -> tuple[float, float, float, float]:
    """Return the numbers of a `bndbox`, or the smallest and largest ones of a `polygon` of at least three points."""
    polygon = entry.find("polygon")
    if polygon is None or entry.find("bndbox") is not None:
        left, top, right, bottom = (float(entry.findtext(f"bndbox/{key}", "")) for key in _CORNERS)
        return left, top, right, bottom
    numbers = range(1, max(3, len(polygon) // 2) + 1)
    x, y = ([float(polygon.findtext(f"{axis}{number}", "")) for number in numbers] for axis in "xy")
    return min(x), min(y), max(x), max(y)


def _read_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return the stated height and width; some tools omit them or write 0."""
    try:
        height, width = (int(root.findtext(f"size/{key}", "")) for key in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None
