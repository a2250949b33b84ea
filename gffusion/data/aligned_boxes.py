"""Read boxes in the frame of aligned images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Align, Rig

from .boxes import Boxes, clip_boxes, read_boxes
from .boxes.base import BoxSizeError
from .pairs import ImagePair
from .reading import PairImages


def read_aligned_boxes(pair: ImagePair, images: PairImages, class_names: Sequence[str] | None, align: Align) -> Boxes:
    """Read the boxes of a pair in the frame of its visible image.

    If their file states the size of the infrared image, and not that of the visible image, they were drawn on the infrared
    image, and are moved with it: each becomes the box around its four corners. What the infrared image does not show is unseen.
    Boxes are moved only if `align` is `"resize"` or a rig.

    Raises:
        OSError: If a file cannot be read.
        ValueError: As [`read_boxes`], or if the pair has no boxes.
    """
    if pair.boxes is None:
        raise ValueError(f"{pair.visible} has no boxes")
    size, infrared_size = (images.visible.shape[0], images.visible.shape[1]), images.infrared_size
    rig = Rig(np.eye(3)) if align == "resize" else align
    try:
        return read_boxes(pair.boxes, size, class_names)
    except BoxSizeError as error:
        if infrared_size is None or error.size != infrared_size:
            raise
        if not isinstance(rig, Rig):
            raise ValueError(
                f'{error}. They have the size of the infrared image: align="resize" (--align resize) or a rig moves them with it'
            ) from error
    boxes, matrix = read_boxes(pair.boxes, infrared_size, class_names), rig.to_pixels(size, infrared_size)
    ignored = clip_boxes(_move(boxes.ignored, matrix), [0] * len(boxes.ignored), size, str(pair.boxes)).coordinates
    moved = clip_boxes(_move(boxes.coordinates, matrix), boxes.classes.tolist(), size, str(pair.boxes))
    return Boxes(moved.coordinates, moved.classes, ignored, images.outside)


def _move(boxes: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move boxes (N, 4) of the infrared image by the matrix from pixels of the visible to pixels of the infrared image."""
    corners = boxes[:, [[0, 1], [2, 1], [0, 3], [2, 3]]] - 0.5  # whole numbers of the matrix are centers of pixels
    points = np.insert(corners, 2, 1, axis=2) @ np.linalg.inv(matrix).T
    points = points[..., :2] / points[..., 2:] + 0.5
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
