"""Read YOLO box files."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .base import MAX_CLASSES, Boxes, clip_boxes, read_text
from .kaist import is_kaist

# Larger relative coordinates are pixels by mistake, not boxes that extend beyond the image.
_MAX_RELATIVE = 2.0
# Points of polygons are inside the image; the visibility of key points (2) is not a coordinate.
_MAX_POLYGON = 1.05
_MAX_CONFIDENCE = 1.001  # 1 can be rounded up


def parse_yolo(text: str, origin: str, size: tuple[int, int], class_names: Sequence[str] | None = None) -> Boxes:
    """Return the boxes in the text of a YOLO file: one box per line, `class center_x center_y width height`, relative to the image.

    A sixth number, the confidence of a detector in [0, 1], is ignored. A line can also be a polygon, `class x1 y1 x2 y2 x3 y3
    ...`, as in files for segmentation: its box is returned. See [`read_boxes`] for the arguments and errors.
    """
    height, width = size
    classes, coordinates = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            index, (x, y, w, h) = _parse_row(line.split(), class_names)
        except ValueError as error:
            raise ValueError(f"{origin}, line {number}: {error}, got {line.strip()!r}") from error
        classes.append(index)
        coordinates.append(((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
    return clip_boxes(coordinates, classes, size, origin)


def read_yolo_text(path: Path) -> str | None:
    """Return the text of a YOLO file, empty if it cannot be read, or `None` for a file with class names."""
    if path.suffix.lower() != ".txt":
        return None
    try:
        text = read_text(path)
    except (OSError, ValueError):
        return ""
    return None if is_kaist(text) else text


def scan_yolo(text: str) -> tuple[dict[int, int], list[list[float]]]:
    """Return the class ids in a YOLO file, each with the number of its first line, and what [`parse_yolo`] can read.

    Boxes are center x, center y, width and height. Lines that cannot be read are left out.
    """
    lines: dict[int, int] = {}
    centers: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        columns = line.split()
        with suppress(ValueError, OverflowError, IndexError):
            lines.setdefault(int(float(columns[0])), number)
            centers.append(_parse_row(columns, None)[1])
    return lines, centers


def _parse_row(columns: list[str], class_names: Sequence[str] | None) -> tuple[int, list[float]]:
    if len(columns) < 5:
        raise ValueError(
            "a YOLO line must be: class, center x, center y, width, height[, confidence], or class and polygon"
        )
    if len(columns) == 6 and not _is_confidence(columns[5]):
        raise ValueError(
            f"the sixth number {columns[5]} is no confidence from 0 to 1: remove it if it is a track number or a percentage; if it is an "
            "angle, export the boxes as polygons"
        )
    is_polygon = len(columns) > 6
    try:  # the last number of an even count is the confidence of a detector
        index, *box = map(float, columns[: len(columns) - (len(columns) + 1) % 2])
    except ValueError:
        raise ValueError("a YOLO line must contain only numbers") from None
    known = len(class_names) if class_names is not None else MAX_CLASSES
    if not (index.is_integer() and 0 <= index < known):
        names = f" ({', '.join(class_names)})" if class_names is not None else ""
        raise ValueError(f"the class must be an integer from 0 to {known - 1}{names}")
    limit = _MAX_POLYGON if is_polygon else _MAX_RELATIVE
    if not all(abs(value) <= limit for value in box) or (not is_polygon and min(box[2:]) < 0):  # also refuses NaN
        raise ValueError("YOLO coordinates must be relative to the image, in [0, 1], not in pixels")
    if is_polygon:
        left, top, right, bottom = min(box[::2]), min(box[1::2]), max(box[::2]), max(box[1::2])
        box = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    return int(index), box


def _is_confidence(text: str) -> bool:
    try:
        return 0 <= float(text) <= _MAX_CONFIDENCE
    except ValueError:
        return True  # a text, such as the name of the class, has no other meaning either
