"""Names of classes after the background: read them, and refuse lists whose numbers would not be those of the labels."""

from collections.abc import Sequence
from pathlib import Path

from .boxes.base import read_text
from .file_names import normalize_class_name

_BACKGROUND = "background"


def read_lines(file: Path) -> tuple[str, ...]:
    """Read the lines of a UTF-8 text file, without empty ones; raise ValueError if it is not UTF-8."""
    return tuple(line.strip() for line in read_text(file).splitlines() if line.strip())


def read_unchecked_names(file: Path, of_boxes: bool) -> tuple[str, ...]:
    """Read the classes after the background from a `classes.txt`, one per line, without [`check_class_names`].

    A first line "background" is label 0 and left out, unless boxes are numbered by the lines.
    """
    names = read_lines(file)
    if not of_boxes and names and normalize_class_name(names[0]) == _BACKGROUND:
        return names[1:]
    return names


def check_class_names(names: Sequence[str], source: str) -> tuple[str, ...]:
    """Return the names of the classes after the background, from `source`.

    Raises:
        ValueError: If there are none, one is the background, or two are equal up to case and underscores.

    Examples:
        >>> check_class_names(["person", "car", "Person"], "classes.txt")
        Traceback (most recent call last):
        ...
        ValueError: classes.txt names 'Person' twice: give each class a name of its own
    """
    if not names:
        raise ValueError(f"{source} names no class: list the classes after the background, or remove it")
    seen = set()
    for name in names:
        key = normalize_class_name(name)
        if key == _BACKGROUND:
            raise ValueError(
                f"{source} lists the classes after the background, first the one with number 0 in boxes and 1 in label maps: "
                f"remove {name!r}"
            )
        if key in seen:
            raise ValueError(f"{source} names {name!r} twice: give each class a name of its own")
        seen.add(key)
    return tuple(names)
