"""Read box files of KAIST."""

from collections.abc import Sequence

from .base import Boxes, NamedBoxes

_HEADER = "% bbGt version="


def is_kaist(text: str) -> bool:
    """Return whether the text of a `.txt` file of boxes is one of KAIST, not of YOLO."""
    return text.lstrip().startswith(_HEADER)


def parse_kaist(text: str, origin: str, size: tuple[int, int], class_names: Sequence[str] | None) -> Boxes:
    """Return the boxes in the text of a file of KAIST or Caltech, as Piotr's toolbox writes it (https://pdollar.github.io/toolbox, `bbGt`).

    After the header, each line is a box: class, left, top, width and height in pixels, visibility (5 numbers), and
    whether to ignore the box. Boxes to ignore and doubtful ones (`person?`) are `Boxes.ignored`.

    See [`read_boxes`] for the arguments and errors.
    """
    names, corners, ignored = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        name, *columns = line.split() or ["%"]
        if name.startswith("%"):
            continue
        try:
            left, top, width, height = map(float, columns[:4])
            is_ignored = len(columns) > 9 and float(columns[9]) != 0
        except ValueError:
            raise ValueError(
                f"{origin}, line {number}: a bbGt line must be: class, left, top, width, height, ..., got {line.strip()!r}"
            ) from None
        box = (left, top, left + width, top + height)
        if is_ignored or name.endswith("?"):
            ignored.append(box)
        else:
            names.append(name)
            corners.append(box)
    return NamedBoxes(origin, None, tuple(names), tuple(corners), tuple(ignored)).to_boxes(size, class_names)
