"""Note frames of one value around both images of a pair, as some datasets add them for rotated boxes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Lines at a side, and by how many of them the images differ: JPEG changes those of blocks that a frame ends in.
_MIN_LINES, _MAX_DIFFERENCE = 8, 16


def note_common_frame(visible: NDArray[Any], infrared: NDArray[Any]) -> tuple[str, ...]:
    """Return a note if both images have bars of exactly the same value and width at two opposite sides.

    Args:
        visible: (H, W) or (H, W, 3).
        infrared: The same; no frame is found if it has another size or scale.

    Examples:
        >>> image = np.random.default_rng(0).integers(0, 250, (60, 80)).astype(np.uint8)
        >>> note_common_frame(image, image)
        ()
        >>> image[[*range(9), *range(-9, 0)]] = 255
        >>> note_common_frame(image, image)[0][:48]
        'both images have the same bars or frame of value'
    """
    if visible.shape[:2] != infrared.shape[:2] or min(visible.shape[:2]) < 2:
        return ()
    corners = np.concatenate(
        [np.ravel(image[:: len(image) - 1, :: image.shape[1] - 1]) for image in (visible, infrared)]
    )
    if not (corners == corners[0]).all():  # as in most images, of which no more is read
        return ()
    value = corners[0]
    widths = np.array([measure_bars(image, value) for image in (visible, infrared)])
    is_common = (widths.min(axis=0) >= _MIN_LINES) & (np.ptp(widths, axis=0) <= _MAX_DIFFERENCE)
    if not (is_common[:2].all() or is_common[2:].all()):
        return ()
    return (
        f"both images have the same bars or frame of value {value:g}, measured and fused like the scene: if they are no "
        "part of it, crop them in both images (and in label maps and boxes)",
    )


def measure_bars(image: NDArray[Any], value: float) -> tuple[int, int, int, int]:
    """Return the number of lines of one value at the top, the bottom, the left and the right; 0 if there are no others."""
    planes = [image] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    differs = np.logical_or.reduce([plane != value for plane in planes])
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if rows.size == 0:
        return 0, 0, 0, 0
    height, width = differs.shape
    return int(rows[0]), int(height - 1 - rows[-1]), int(columns[0]), int(width - 1 - columns[-1])
