"""Draw label maps over images."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import color_classes

if TYPE_CHECKING:
    from gffusion.models.gffusion.image_arrays import Image

IGNORED = 255  # in label maps of files


def overlay(image: "Image", label_map: Any) -> NDArray[np.uint8]:
    """Draw a label map (H, W) over an image, (H, W) or (H, W, 3), uint8, uint16 or floating point in [0, 1].

    Both can also be PIL images or tensors. Returns (H, W, 3) uint8. The background, 0, and ignored pixels, 255 or negative,
    are left unchanged; elsewhere, half of the color is that of the class.

    Raises:
        ValueError: If the image has another type or values outside [0, 1], or the label map has another size or other values
            than integers.

    Examples:
        >>> overlay(np.full((1, 2), 100, np.uint8), np.array([[0, 1]], np.uint8)).tolist()
        [[[100, 100, 100], [165, 80, 80]]]
    """
    # Here to save start-up time: both import torch.
    from gffusion.models.gffusion.image_arrays import to_array
    from gffusion.models.gffusion.image_ops import check_unit_range

    array = to_array(image, "given")
    if np.issubdtype(array.dtype, np.floating):
        check_unit_range(array, "given")
    return mix_colors(array, check_label_map(label_map, array.shape[:2]))


def mix_colors(image: NDArray[Any], label_map: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what [`overlay`] does, of arrays that need no check. Does not import torch."""
    scale = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
    base = np.broadcast_to(image if image.ndim == 3 else image[..., None], (*image.shape[:2], 3)) / scale
    share = 0.5 * ((label_map > 0) & (label_map != IGNORED))[..., None]
    # Mixed on 0 to 255: `to_uint8` of a mixture on 0 to 1 would round some halves to another level.
    return np.rint(255 * (1 - share) * base + share * color_classes(label_map)).astype(np.uint8)


def check_label_map(label_map: Any, size: tuple[int, ...]) -> NDArray[Any]:
    """Return a label map as an array (H, W).

    Raises:
        ValueError: If it does not have the size (height, width) of its image, or other values than integers.
    """
    labels = np.asarray(label_map)
    if labels.shape != size or labels.dtype.kind not in "biu":
        raise ValueError(
            f"A label map holds class ids, integers of shape {size} as its image, got {labels.dtype} of shape {labels.shape}."
        )
    return labels
