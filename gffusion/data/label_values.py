"""Check that label maps hold class indices, not the gray levels of mask tools, and replace values."""

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.utils.notes import name_first

from .class_names import BACKGROUNDS
from .file_names import normalize_class_name
from .io import read_labels
from .label_colors import LabelColors
from .layouts.known import FMB_CLASSES

IGNORED = 255


def check_has_classes(values: Set[int], ignored: int = IGNORED) -> None:
    """Check the values of all label maps of a dataset.

    Raises:
        ValueError: If the values are 0 and `ignored` or only `ignored`, as in masks where 255 is the object.

    Examples:
        >>> check_has_classes({0, 1, 255})
        >>> check_has_classes({0, 255})
        Traceback (most recent call last):
        ...
        ValueError: the label maps hold only 0 and 255, but 255 means ignored...
    """
    if ignored in values and values <= {0, ignored}:
        raise ValueError(
            f"the label maps hold only {' and '.join(map(str, sorted(values)))}, but {ignored} means ignored, so they label no "
            f"object: replace {ignored} by the index of the class, such as 1 (in NumPy: mask[mask == {ignored}] = 1)"
        )


def check_label_files(files: Iterable[Path], max_pixels: int) -> None:
    """Check files of label maps with [`check_has_classes`], up to the first one that holds a class.

    Files that cannot be read are left to the code that uses them.
    """
    values: set[int] = set()
    for file in files:
        with suppress(OSError):
            values.update(map(int, np.unique(read_labels(file, max_pixels))))
        if values - {0, IGNORED}:
            return
    check_has_classes(values)


def note_missing_background(values: Set[int], class_names: Sequence[str]) -> str:
    """Return a note if no label map holds 0, the background, as where numbers start at 1, or an empty text.

    Args:
        values: Values of all label maps of a dataset.
        class_names: Names of the classes by id. There is no note if 0 is another class, or for FMB, which labels every pixel.

    Examples:
        >>> note_missing_background({1, 2, 255}, ["background", "person", "car"])
        'no pixel of the label maps is 0 (background), which is right only if every pixel has another class: if their numbers ...'
    """
    background, *others = map(normalize_class_name, class_names)
    if 0 in values or values <= {IGNORED} or background not in BACKGROUNDS or tuple(others) == FMB_CLASSES:
        return ""
    return (
        f"no pixel of the label maps is 0 ({class_names[0]}), which is right only if every pixel has another class: if their numbers "
        "start at 1, subtract 1"
    )


def replace_values(labels: NDArray[Any], label_map: Mapping[int, int]) -> NDArray[Any]:
    """Return a label map with other values, in a type that holds them; values that are no key stay.

    Examples:
        >>> replace_values(np.array([[0, 1, 2, 9]], np.uint8), {1: 2, 2: 1})
        array([[0, 2, 1, 9]], dtype=uint8)
    """
    replaced = labels.astype(np.result_type(labels.dtype, *map(np.min_scalar_type, label_map.values())))
    for old, new in label_map.items():
        replaced[labels == old] = new
    return replaced


def check_class_values(
    files: Iterable[Path], class_names: Sequence[str], label_map: Mapping[int, int], max_pixels: int
) -> str:
    """Check that the values of label maps are classes, after `label_map` replaced them, and return a note on missing ones or an empty text.

    Files that cannot be read are left to the code that uses them.

    Raises:
        ValueError: If a value is no class, `label_map` gives one that is none, or a color of the palettes has different indices.
    """
    allowed = {*range(len(class_names)), IGNORED}
    classes = ", ".join(f"{index} {name}" for index, name in enumerate(class_names))
    advice = (
        "give `label_map` (--label-map LABELMAP=MODEL,...; "
        f"{IGNORED} means ignored), or the names of the classes by id as `class_names` (--class-names)"
    )
    if wrong := set(label_map.values()) - allowed:
        raise ValueError(f"`label_map` (--label-map) gives {sorted(wrong)}, but the classes are {classes}")
    values: dict[int, Path] = {}  # each with the first file that has it
    colors = LabelColors()
    for file in files:
        with suppress(OSError):
            found = np.unique(read_labels(file, max_pixels))
            colors.add(file, map(int, found))
            values = dict.fromkeys(map(int, replace_values(found, label_map)), file) | values
    note = "" if label_map else note_missing_background(values.keys(), class_names)
    if unknown := sorted(values.keys() - allowed):
        hint = f"{note}; or " if note and unknown == [len(class_names)] else ""
        raise ValueError(
            f"{values[unknown[0]]} holds {name_first(unknown, 10)}, but the classes are {classes}: {hint}{advice}"
        )
    return "; ".join(filter(None, [note, *colors.describe()]))
