"""Read box files of KAIST."""

from collections.abc import Sequence
from pathlib import Path

from .base import Boxes, NamedBoxes, read_text

KAIST_HEADER = "% bbGt version="


def read_kaist(path: Path, size: tuple[int, int], class_names: Sequence[str] | None) -> Boxes:
    """Read a file of KAIST or Caltech, as Piotr's toolbox writes it (https://pdollar.github.io/toolbox, `bbGt`).

    After the header, each line is a box: class, left, top, width and height in pixels, visibility (5 numbers), and
    whether to ignore the box. Boxes to ignore and doubtful ones (`person?`) are `Boxes.ignored`.

    See [`read_boxes`] for the arguments and errors.
    """
    names, corners, ignored = [], [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, *columns = line.split() or ["%"]
        if name.startswith("%"):
            continue
        try:
            left, top, width, height = map(float, columns[:4])
            is_ignored = len(columns) > 9 and float(columns[9]) != 0
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: a bbGt line must be: class, left, top, width, height, ..., got {line.strip()!r}"
            ) from None
        box = (left, top, left + width, top + height)
        if is_ignored or name.endswith("?"):
            ignored.append(box)
        else:
            names.append(name)
            corners.append(box)
    return NamedBoxes(str(path), None, tuple(names), tuple(corners), tuple(ignored)).to_boxes(size, class_names)
