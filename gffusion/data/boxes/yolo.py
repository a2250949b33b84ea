"""Read YOLO box files."""

from collections.abc import Sequence
from pathlib import Path

from .base import Boxes, clip_boxes, read_text

# Larger relative coordinates are pixels by mistake, not boxes that extend beyond the image.
_MAX_RELATIVE = 2.0


def read_yolo(path: Path, size: tuple[int, int], class_names: Sequence[str] | None = None) -> Boxes:
    """Read a YOLO file: one box per line, `class center_x center_y width height`, relative to the image.

    A sixth number, the confidence of a detector, is ignored. See [`read_boxes`] for the arguments and errors.
    """
    height, width = size
    classes, coordinates = [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            index, (x, y, w, h) = _parse_row(line.split(), class_names)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}, got {line.strip()!r}") from error
        classes.append(index)
        coordinates.append(((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
    return clip_boxes(coordinates, classes, size, str(path))


def _parse_row(columns: list[str], class_names: Sequence[str] | None) -> tuple[int, list[float]]:
    if len(columns) not in (5, 6):
        raise ValueError("a YOLO line must be: class, center x, center y, width, height[, confidence]")
    try:
        index, *box = map(float, columns[:5])
    except ValueError:
        raise ValueError("a YOLO line must contain only numbers") from None
    known = len(class_names) if class_names is not None else float("inf")
    if not (index.is_integer() and 0 <= index < known):
        allowed = f"from 0 to {known - 1} ({', '.join(class_names)})" if class_names is not None else "from 0"
        raise ValueError(f"the class must be an integer {allowed}")
    if not all(abs(value) <= _MAX_RELATIVE for value in box) or min(box[2:]) < 0:  # also refuses NaN
        raise ValueError("YOLO coordinates must be relative to the image, in [0, 1], not in pixels")
    return int(index), box
