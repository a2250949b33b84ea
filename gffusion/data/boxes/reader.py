"""Read the boxes of one image in any supported format."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from .base import Boxes, NamedBoxes, read_text
from .kaist import is_kaist, parse_kaist
from .voc import read_voc
from .yolo import parse_yolo, read_yolo_text

BoxReader: TypeAlias = Callable[[Path, tuple[int, int], Sequence[str] | None], Boxes]


def _read_txt(path: Path, size: tuple[int, int], class_names: Sequence[str] | None) -> Boxes:
    text = read_text(path)
    return (parse_kaist if is_kaist(text) else parse_yolo)(text, str(path), size, class_names)


_READERS: dict[str, BoxReader] = {".txt": _read_txt, ".xml": read_voc}

BOX_SUFFIXES: tuple[str, ...] = tuple(_READERS)
"""Suffixes of files with the boxes of one image, in lower case: YOLO, KAIST and Pascal VOC."""


def has_class_names(path: Path) -> bool:
    """Return whether a file of boxes holds the names of their classes, not indices; `False` if it cannot be read."""
    return read_yolo_text(path) is None


def read_boxes(
    source: str | os.PathLike[str] | NamedBoxes, size: tuple[int, int], class_names: Sequence[str] | None = None
) -> Boxes:
    """Read the boxes of one image from a YOLO, KAIST or Pascal VOC file, or an entry of [`read_coco`].

    Boxes outside the image or without an area are left out and reported through `logging`. A file without objects means
    an image without objects. Class names are compared case-insensitively, with `_` as a space; `People` matches `person`
    unless both are classes.

    Args:
        source: A `.txt` (YOLO or KAIST) or `.xml` (Pascal VOC) file, or an entry.
        size: Height and width of the image in pixels.
        class_names: Names of the classes, in the order of their indices. Optional for YOLO files, which store indices.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is malformed, holds a class that is not in `class_names`, or states another size.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "street.txt").write_text("1 0.5 0.5 0.5 1")
        ...     read_boxes(Path(folder, "street.txt"), size=(100, 200)).coordinates.tolist()
        [[50.0, 0.0, 150.0, 100.0]]
    """
    if isinstance(source, NamedBoxes):
        return source.to_boxes(size, class_names)
    path = Path(source)
    if path.suffix.lower() == ".json":
        raise ValueError(f"{path} contains the boxes of many images; read it with read_coco")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"cannot read boxes from {path}: the suffix must be one of {', '.join(BOX_SUFFIXES)}, .json")
    return reader(path, size, class_names)
