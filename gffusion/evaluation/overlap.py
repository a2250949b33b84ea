"""Intersection over union of matrices of pixel counts: row = class in the labels, column = predicted class."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MEAN_IOU = "mIoU"
"""Name of the mean beside the names of classes."""


def intersection_over_union(confusion: NDArray[np.int64], class_names: tuple[str, ...]) -> dict[str, float]:
    """Return the mean over the classes that occur as `MEAN_IOU`, and the value of each class, NaN if it does not occur.

    Examples:
        >>> intersection_over_union(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), ("x", "y", "z"))
        {'mIoU': 0.775, 'x': 0.75, 'y': 0.8, 'z': nan}
    """
    common, union = count_overlap(confusion)
    occurs = union > 0
    scores = np.divide(common, union, out=np.full(len(union), np.nan), where=occurs)
    mean = float(scores[occurs].mean()) if occurs.any() else float("nan")
    return {MEAN_IOU: mean, **dict(zip(class_names, scores.tolist(), strict=True))}


def count_overlap(confusion: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels in the intersection and in the union of label map and prediction, by class."""
    common = confusion.diagonal()
    return common, confusion.sum(axis=0) + confusion.sum(axis=1) - common


def describe_unequal_classes(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Return a note if the means of methods are over different classes, or an empty text.

    All methods have the same label maps, so that only classes that no label map holds can count for a part of the methods.

    Args:
        scores: Results of [`intersection_over_union`] by method.

    Examples:
        >>> describe_unequal_classes({"a": {"x": 0.5, "y": 0.0}, "b": {"x": 0.4, "y": float("nan")}})
        'mIoU is over different classes in different rows: classes that no label map holds count, with 0, only for ... (y: a).'
        >>> describe_unequal_classes({"a": {"x": 0.5, "y": 0.0}, "b": {"x": 0.4, "y": 0.0}})
        ''
    """
    methods: dict[str, list[str]] = {}
    for method, values in scores.items():
        for name in (name for name, value in values.items() if np.isfinite(value)):
            methods.setdefault(name, []).append(method)
    unequal = [f"{name}: {', '.join(found)}" for name, found in methods.items() if len(found) < len(scores)]
    if not unequal:
        return ""
    return (
        f"{MEAN_IOU} is over different classes in different rows: classes that no label map holds count, with 0, only for methods "
        f"that predict them ({'; '.join(unequal)})."
    )
