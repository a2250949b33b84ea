"""Names of classes after the background: read them, and refuse lists whose numbers would not be those of the labels."""

import re
from collections.abc import Sequence
from pathlib import Path

from .boxes.base import SYNONYMS, read_text
from .file_names import is_background, normalize_class_name

BACKGROUNDS = frozenset({"background", "bg", "unlabeled", "unlabelled", "void", "none", "ignore"})
"""Names of label 0 that lists of classes start with."""

# Numbers, colors, comments and bullets of other files: "0: person", "person:0,0,255::", "# person", "- person", "names:".
_NO_NAME = re.compile(r"\d+\s*[:,;\t]\s*[^\W\d]|.*:\d+,\d+,\d+:|#\s|-\s|names\s*:")


def read_lines(file: Path) -> tuple[str, ...]:
    """Read the lines of a text file, without empty ones; raise ValueError if it is neither UTF-8 nor UTF-16."""
    return tuple(line.strip() for line in read_text(file).splitlines() if line.strip())


def read_unchecked_names(file: Path, of_boxes: bool) -> tuple[str, ...]:
    """Read the classes after the background from a `classes.txt`, one per line, without [`check_class_names`].

    A first line "background", or another of [`BACKGROUNDS`], is label 0 and left out, unless boxes are numbered by the lines.
    """
    names = read_lines(file)
    if not of_boxes and names and normalize_class_name(names[0]) in BACKGROUNDS:
        return names[1:]
    return names


def check_typed_names(names: Sequence[str], source: str, of_labels: bool = False) -> tuple[str, ...]:
    """Return the names of the classes after the background that a person listed in `source`.

    `of_labels` tells that there are label maps, whose first class is 1.

    Raises:
        ValueError: As [`check_class_names`], if an entry holds more than a name, or if the first one is a name of the
            background in label maps.

    Examples:
        >>> check_typed_names(["0: person", "1: car"], "classes.txt")
        Traceback (most recent call last):
        ...
        ValueError: classes.txt lists '0: person', which is more than a name: each line or entry is the name of one class...
    """
    is_counted = len(names) > 1 and all(
        re.match(rf"{number}[\s_.)=-]+[^\W\d]", name) for number, name in enumerate(names)
    )
    for name in names:
        if is_counted or _NO_NAME.match(name):
            raise ValueError(
                f"{source} lists {name!r}, which is more than a name: each line or entry is the name of one class, in the order of "
                "their numbers, without numbers, colors or comments"
            )
    if of_labels and names and normalize_class_name(names[0]) in BACKGROUNDS:
        raise _name_background(names[0], source)
    return check_class_names(names, source)


def check_order(given: Sequence[str], known: Sequence[str], layout: str) -> None:
    """Raise ValueError if names number classes otherwise than a layout does, which reads label maps by its own numbers.

    Examples:
        >>> check_order(["Person"], ["person", "car"], "m3fd")
        >>> check_order(["car"], ["person", "car"], "m3fd")
        Traceback (most recent call last):
        ...
        ValueError: the layout 'm3fd' numbers the classes person, car, so car would be read as person: leave --class-names out...
    """
    for own, other in zip(known, given, strict=False):
        key = normalize_class_name(other)
        if normalize_class_name(own) not in (key, SYNONYMS.get(key)):
            raise ValueError(
                f"the layout {layout!r} numbers the classes {', '.join(known)}, so {other} would be read as {own}: leave --class-names "
                "out, or choose another --output"
            )


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
        if is_background(name):
            raise _name_background(name, source)
        if key in seen:
            raise ValueError(f"{source} names {name!r} twice: give each class a name of its own")
        seen.add(key)
    return tuple(names)


def _name_background(name: str, source: str) -> ValueError:
    return ValueError(
        f"{source} lists the classes after the background, first the one with number 0 in boxes and 1 in label maps: remove {name!r}"
    )
