"""Read boxes in the frame of aligned images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Rig
from gffusion.data import ImagePair, ReadOptions
from gffusion.data.boxes import Boxes, clip_boxes, read_boxes
from gffusion.data.boxes.base import BoxSizeError
from gffusion.data.reading import read_unaligned


def read_aligned_boxes(
    pair: ImagePair, size: tuple[int, int], class_names: Sequence[str] | None, options: ReadOptions
) -> Boxes:
    """Read the boxes of a pair in the frame of its visible image.

    If their file states the size of the infrared image, and not that of the visible image, they were drawn on the infrared
    image, and are moved with it: each becomes the box around its four corners.

    Args:
        pair: The pair.
        size: Height and width of the visible image.
        class_names: See [`read_boxes`].
        options: How the images are read. Boxes are moved if `align` is `"resize"` or a rig.

    Raises:
        OSError: If a file cannot be read.
        ValueError: As [`read_boxes`], or if the pair has no boxes.
    """
    if pair.boxes is None:
        raise ValueError(f"{pair.visible} has no boxes")
    try:
        return read_boxes(pair.boxes, size, class_names)
    except BoxSizeError as error:
        rig = Rig(np.eye(3)) if options.align == "resize" else options.align
        if not isinstance(rig, Rig):
            raise
        infrared_size = read_unaligned(pair.visible, pair.infrared, options)[1].values.shape[:2]
        if error.size != infrared_size:
            raise
    boxes, matrix = read_boxes(pair.boxes, infrared_size, class_names), rig.to_pixels(size, infrared_size)
    ignored = clip_boxes(_move(boxes.ignored, matrix), [0] * len(boxes.ignored), size, str(pair.boxes)).coordinates
    moved = clip_boxes(_move(boxes.coordinates, matrix), boxes.classes.tolist(), size, str(pair.boxes))
    return Boxes(moved.coordinates, moved.classes, ignored)


def _move(boxes: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move boxes (N, 4) of the infrared image by the matrix from pixels of the visible to pixels of the infrared image."""
    corners = boxes[:, [[0, 1], [2, 1], [0, 3], [2, 3]]] - 0.5  # whole numbers of the matrix are centers of pixels
    points = np.insert(corners, 2, 1, axis=2) @ np.linalg.inv(matrix).T
    points = points[..., :2] / points[..., 2:] + 0.5
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
