"""Boxes and masks for tests of labeling."""

import numpy as np
from numpy.typing import NDArray
from skimage.draw import disk

from gffusion.data.boxes import Boxes


def boxes_of(*rows: tuple[float, ...]) -> Boxes:
    """Return boxes of rows (left, top, right, bottom, class)."""
    table = np.array(rows, dtype=np.float32).reshape(-1, 5)
    return Boxes(table[:, :4], table[:, 4].astype(np.int64))


def disc(row: float, column: float, radius: float, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of a disc."""
    mask = np.zeros(size, dtype=bool)
    mask[disk((row, column), radius, shape=size)] = True
    return mask


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())
