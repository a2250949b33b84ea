"""Check that label maps hold class indices, not the gray levels of mask tools."""

from collections.abc import Iterable, Set
from pathlib import Path

import numpy as np

from .io import read_labels

IGNORED = 255


def check_has_classes(values: Set[int], ignored: int = IGNORED) -> None:
    """Check the values of all label maps of a dataset.

    Raises:
        ValueError: If the values are 0 and `ignored` or only `ignored`, as in masks where 255 is the object.

    Example:
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


def check_label_files(files: Iterable[Path], ignored: int = IGNORED) -> None:
    """Check files of label maps with [`check_has_classes`], up to the first one that holds a class.

    Files that cannot be read are left to the code that uses them.
    """
    values: set[int] = set()
    for file in files:
        try:
            values.update(map(int, np.unique(read_labels(file))))
        except OSError:
            continue
        if values - {0, ignored}:
            return
    check_has_classes(values, ignored)
