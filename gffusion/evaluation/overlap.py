"""Intersection over union of matrices of pixel counts: row = class in the labels, column = predicted class."""

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
